"""The test cluster of docker/slurm, for the tests beside this file."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sweeps.cli.train import train_trial
from sweeps.plan import make_plan
from sweeps.process.terminal import make_console
from sweeps.spec.sweep import load_sweep
from sweeps.store import Store
from tests.helpers.paths import ROOT
from tests.helpers.pooling import NAME, PLUGINS, Pool, declare

_SCRIPT = ROOT / "docker" / "slurm" / "cluster"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the tests that others must wait for, then the long ones; end with the short.

    So one of pytest's processes is not left with a test of minutes when the others are done.
    """

    def rank(item: pytest.Item) -> tuple[bool, bool, bool]:
        return (
            item.get_closest_marker("alone") is None,
            item.get_closest_marker("long") is None,
            item.path.stem in ("test_bad_input", "test_cluster"),
        )

    items.sort(key=rank)


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        environment: What a login node has.
        shared: A folder that every node sees.
        nodes: Names of the nodes.
    """

    environment: dict[str, str]
    shared: Path
    nodes: tuple[str, ...]

    @property
    def login_address(self) -> str:
        """This machine's address in the cluster's network."""
        node = self.on(self.nodes[0], "hostname", "--ip-address").strip()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((node, 9))  # sends nothing: the kernel chooses the way
            return str(probe.getsockname()[0])

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command on the login node."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def on(self, node: str, *command: str, check: bool = True) -> str:
        """Run a command on a node, as root."""
        return self.run(str(_SCRIPT), "exec", node, "--", *command, check=check)

    def node(self, verb: str, node: str) -> None:
        """``down`` (its slurmd), ``off`` (all of it) or ``up``."""
        self.run(str(_SCRIPT), f"node-{verb}", node)

    def jobs(self) -> list[str]:
        """Jobs in the queue."""
        return self.run("squeue", "--noheader", "--array", "--format=%i").split()

    def clear(self) -> None:
        """End every job and bring every node up."""
        for node in self.nodes:
            self.node("up", node)
        end = time.monotonic() + 120
        while jobs := self.jobs():
            assert time.monotonic() < end, self.run("squeue")
            # Again and again: a head that lives submits other workers in the place of those.
            self.run("scancel", *jobs, check=False)
            time.sleep(1.0)


def _name() -> str:
    """The cluster of this process: pytest's processes have one each."""
    names = os.environ.get("CARE_SLURM_NAMES", "care").split()
    return names[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))]


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster that ``make test-slurm`` has brought up."""
    state = Path(f"/var/lib/{_name()}-slurm")
    environment = {"CARE_SLURM_NAME": _name(), "SLURM_CONF": str(state / "slurm.conf")}
    subprocess.run(
        [_SCRIPT, "up"], env={**os.environ, **environment},
        check=True, timeout=180, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    found = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format=%N", "--partition=low"],
        env={**os.environ, **environment}, check=True, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    return Cluster(environment, state / "shared", tuple(sorted(set(found.stdout.split()))))


@pytest.fixture(autouse=True)
def machine(request: pytest.FixtureRequest) -> Iterator[None]:
    """Lets a test that looks at all of the machine, marked ``alone``, wait for the others."""
    alone = request.node.get_closest_marker("alone")
    with _SCRIPT.with_name("machine").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.fixture(scope="session", autouse=True)
def plugins() -> Iterator[None]:
    """The plugin of the declared trials, for this process and all that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PLUGINS)
        patch.setenv("PYTHONPATH", str(PLUGINS), prepend=os.pathsep)
        patch.setenv("CARE_PLUGINS", "slow_encoder")
        yield


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep's trials, trained one by one in this process: no Ray, no cluster."""
    folder = tmp_path_factory.mktemp("undisturbed")
    declare(folder)
    store = Store(folder / "runs")
    for trial in make_plan(load_sweep(folder / "local.yaml"), store).trials:
        train_trial(trial.config, store, make_console())
    return folder


@pytest.fixture
def pool(
    cluster: Cluster, request: pytest.FixtureRequest, empty_database: Path
) -> Iterator[Callable[..., Pool]]:
    """Makes the sweep in a folder of its own; afterwards no job is left and every node is up."""
    folders: list[Path] = []

    def make(name: str = NAME, **changes: Any) -> Pool:
        folder = cluster.shared / f"{request.node.name[:30]}-{uuid.uuid4().hex[:6]}"
        folders.append(folder)
        changes = {"database": empty_database, **changes}
        return Pool(folder, cluster.environment, name, **changes)

    yield make
    cluster.clear()
    for folder in folders:
        shutil.rmtree(folder)
