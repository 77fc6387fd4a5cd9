"""``python:`` and ``setup:`` of a cluster file: workers in a container, which Debian's tools make."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweeps.backends.slurm.config import load_cluster
from sweeps.cli.train import train_trial
from sweeps.doctor.cluster import check_nodes
from sweeps.doctor.finding import Finding
from sweeps.plan import make_plan
from sweeps.process.terminal import make_console
from sweeps.spec.sweep import load_sweep
from sweeps.store import Store
from tests.cluster.conftest import Cluster
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.paths import ROOT
from tests.helpers.pooling import CLUSTER, Pool, wait_until

MakePool = Callable[..., Pool]
SHORT = "training.epochs=2"
INSTALL = ROOT / "docker" / "train" / "install"
# As Apptainer does: a root with the image's files, in which the store and /tmp have their paths.
CONTAINER = """#!/bin/bash
set -euo pipefail
if [[ ${INSIDE:-} != yes ]]; then INSIDE=yes exec unshare --mount "$0" "$@"; fi
echo "$(hostname) $MODULES" >>@LOG@
root=$(mktemp --directory /tmp/container.XXXX)
mount -t tmpfs container "$root"
show() { mkdir -p "$root$2"; mount --rbind "$1" "$root$2"; }
for name in bin lib lib64 sbin; do ln -s "usr/$name" "$root/$name"; done
for folder in /usr /etc /proc /sys /dev /tmp @SHARED@ @PYTHON@ @LIBRARIES@; do show $folder $folder; done
show @IMAGE@ /opt/care
[[ ! -e $root@ROOT@/pyproject.toml ]]  # the checkout is not there
exec chroot "$root" env --chdir="$PWD" /opt/care/bin/python "$@"
"""


@dataclass(frozen=True)
class Image:
    """What ``python:`` names, and the log of its starts."""

    python: Path
    log: Path


@pytest.fixture(scope="module")
def image(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """A wheel of this checkout, installed by the script that the images use."""
    folder = cluster.shared / f"image-{uuid.uuid4().hex[:6]}"
    folder.mkdir()
    dist = tmp_path_factory.mktemp("dist")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    source = dist / "source"
    kept = shutil.ignore_patterns(".git", ".venv", "runs", "build", "tests", "*.egg-info", ".*")
    shutil.copytree(ROOT, source, ignore=kept)
    subprocess.run([*pip, "--wheel-dir", str(dist), "."], cwd=source, check=True)
    (wheel,) = dist.glob("*.whl")
    # The libraries, gigabytes, are those of this environment.
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
    }
    libraries = Path(sysconfig.get_path("purelib"))
    command = [str(INSTALL), "python", str(folder / "care"), str(wheel)]
    subprocess.run(command, env=environment, check=True)
    packages = next((folder / "care").glob("lib/python3*/site-packages"))
    (packages / "libraries.pth").write_text(f"{libraries}\n")
    checked = subprocess.run(
        [INSTALL, "check", folder / "care"],
        env={
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "CARE_PLUGINS")
        },
        check=True, capture_output=True, text=True, timeout=120,
    ).stdout  # fmt: skip
    assert "care 0.0, Python 3." in checked
    script, log = folder / "container", folder / "log"
    text = CONTAINER
    for name, path in {
        "LOG": log, "SHARED": cluster.shared, "PYTHON": sys.base_prefix, "LIBRARIES": libraries,
        "IMAGE": folder / "care", "ROOT": ROOT,
    }.items():  # fmt: skip
        text = text.replace(f"@{name}@", str(path))
    script.write_text(text)
    script.chmod(0o755)
    yield Image(script, log)
    shutil.rmtree(folder)


def checked(cluster: Cluster, sweep: Pool, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the doctor says of the nodes."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(sweep.folder)
    return list(check_nodes(load_cluster(Path("cluster.yaml")), Path("runs")))


def test_workers_in_a_container_get_the_numbers_of_a_local_run(
    cluster: Cluster,
    pool: MakePool,
    image: Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SLURM's commands are not in the container, so that the head has a Python outside."""
    head = {**CLUSTER["head"], "python": sys.executable}
    setup = ["export MODULES=loaded"]
    sweep = pool(seeds=1, python=str(image.python), setup=setup, head=head)
    sweep.submit("1", SHORT)
    wait_until(lambda: sweep.finished() == 2, what=sweep.logs())
    local = Store(tmp_path)
    for trial in make_plan(load_sweep(sweep.folder / "local.yaml", (SHORT,)), local).trials:
        undisturbed = train_trial(trial.config, local, make_console())
        assert_equal_to_the_bit(sweep.folder / "runs" / "trials" / trial.trial_id, undisturbed.path)
    starts = image.log.read_text().splitlines()
    assert {start.split()[1] for start in starts} == {"loaded"}
    assert {start.split()[0] for start in starts} <= set(cluster.nodes)

    cluster.clear()
    found = checked(cluster, pool(python=str(image.python), setup=setup), monkeypatch)
    (missing,) = [finding for finding in found if finding.verdict == "bad"]
    assert missing.detail.startswith("its Python cannot call SLURM: ")
    assert "head.python" in missing.fix
    assert any("scratch and torch work" in finding.detail for finding in found)


def test_a_python_that_does_not_exist_is_named(
    cluster: Cluster, pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = pool(python="/nowhere/python")
    (finding,) = checked(cluster, sweep, monkeypatch)
    assert finding.verdict == "bad"
    assert "/nowhere/python" in finding.detail
    assert "\n" not in finding.detail
    sweep.submit("1")
    wait_until(lambda: not cluster.jobs(), what="the head ends")
    assert "/nowhere/python" in sweep.status()["error"]
    said = sweep.care("sweep", "status", sweep.name, check=False)
    (line,) = [line for line in said.splitlines() if "last error" in line]
    assert "/nowhere/python" in line


def test_debian_has_the_packages_of_the_image() -> None:
    for command in ("packages", "build-packages"):
        subprocess.run(
            [INSTALL, command, "--simulate"],
            check=True, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
