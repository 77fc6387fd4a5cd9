"""What ``care sweep submit`` refuses, before anything is submitted or written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from care.errors import ConfigError
from care.trials.folder import TrialFolder
from care.trials.state import State
from sweeps.cli.cluster import parse_workers
from sweeps.plan import make_plan
from sweeps.spec.sweep import load_sweep
from sweeps.store import Store
from tests.cluster.conftest import Cluster
from tests.helpers.declaring import fabricate
from tests.helpers.pooling import CLUSTER, Pool
from tests.helpers.processes import CARE

MakePool = Callable[..., Pool]


def refused(sweep: Pool, *arguments: str) -> str:
    """What is said; nothing may have been submitted or written."""
    before = sorted(sweep.folder.rglob("*"))
    said = sweep.care(
        "sweep", "submit", "sweep.yaml", "--cluster", "cluster.yaml", *arguments, check=False
    )
    assert said.startswith("error: "), said
    assert sorted(sweep.folder.rglob("*")) == before
    return said


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"partition": "lo"}, "partition: got 'lo'; allowed: high, low; did you mean 'low'?"),
        ({"gpus": 3}, "gpus: got 3; allowed: at most 2"),
        ({"time": "1-00:00:00"}, "time: got 1440; allowed: at most 240 minutes"),
        ({"constraint": "a100"}, "constraint: got 'a100'; allowed: standin"),
        ({"gpu": 1}, "did you mean 'gpus'?"),
        ({"head": {**CLUSTER["head"], "partition": "hihg"}}, "head.partition: got 'hihg'"),
        ({"grace_seconds": 1200}, "grace_seconds: got 1200; allowed: less than the time"),
        ({"scratch": "/" + "x" * 50}, "scratch: got"),
    ],
)
def test_a_cluster_file_that_asks_for_what_is_not_there(
    cluster: Cluster, pool: MakePool, changes: dict[str, Any], expected: str
) -> None:
    assert expected in refused(pool(**changes))
    assert cluster.jobs() == []


def test_a_trial_larger_than_a_worker(cluster: Cluster, pool: MakePool) -> None:
    said = refused(pool(gpus=0))
    assert (
        "resources.gpus: got 1.0; allowed: at most 0, the GPUs of a worker (cluster.yaml)" in said
    )
    assert cluster.jobs() == []


def test_a_time_shorter_than_an_epoch(cluster: Cluster, pool: MakePool) -> None:
    sweep = pool(time=2, grace_seconds=30)
    store = Store(sweep.folder / "runs")
    declared = load_sweep(sweep.folder / "sweep.yaml")
    config = make_plan(declared, store).trials[0].config
    seconds, made = [200.0, 200.0, 200.0], {"device": "cuda"}
    done: TrialFolder = fabricate(store, config, State.PAUSED, 3, seconds=seconds, provenance=made)
    assert done.read_timings()
    said = refused(sweep)
    assert "time: got 2; allowed: more than an epoch, which took 3 minutes here" in said
    assert cluster.jobs() == []


@pytest.mark.parametrize("text", ["0", "3:1", "many", "-1:2", "1:2:3"])
def test_workers_that_are_no_range(text: str) -> None:
    with pytest.raises(
        ConfigError, match=f"--workers: got {text!r}; allowed: a number, or MIN:MAX"
    ):
        parse_workers(text)


def test_a_range_of_workers_is_checked_before_the_rest(pool: MakePool) -> None:
    assert "--workers: got '3:1'; allowed: a number, or MIN:MAX" in refused(pool(), "--workers=3:1")


def test_a_store_that_no_other_node_sees(cluster: Cluster, pool: MakePool, tmp_path: Path) -> None:
    said = refused(pool(), f"--store={tmp_path}/runs")
    assert "--store: got" in said
    assert "a disk that all nodes share" in said
    assert not (tmp_path / "runs").exists()
    assert cluster.jobs() == []


def test_a_store_that_cannot_be_made(cluster: Cluster, pool: MakePool) -> None:
    sweep = pool()
    (sweep.folder / "file").touch()
    assert "no store can be here" in refused(sweep, "--store=file/runs")
    assert cluster.jobs() == []


def test_a_sweep_that_was_not_submitted(pool: MakePool) -> None:
    for verb, allowed in (
        ("status", "none yet"),
        ("cancel", "a sweep that was submitted (none was)"),
    ):
        output = pool().care("sweep", verb, "pooled", check=False)
        assert f"sweep: got 'pooled'; allowed: {allowed}" in output


def test_slurm_is_not_here(pool: MakePool, tmp_path: Path) -> None:
    """Says how to run the sweep on this machine."""
    sweep = pool()
    python = shutil.which("python3")
    assert python
    (tmp_path / "python3").symlink_to(python)
    done = subprocess.run(
        [*CARE, "sweep", "submit", "sweep.yaml", "--cluster", "cluster.yaml"],
        cwd=sweep.folder,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "there is no sbatch on this machine" in done.stderr
    assert "run the sweep on this machine: care sweep run sweep.yaml" in done.stderr


def test_the_example_is_refused_by_name_only(cluster: Cluster) -> None:
    """It is valid; what it names is not on this cluster."""
    tree = yaml.safe_load(Path("sweeps/clusters/example.yaml").read_text())
    assert tree["partition"] not in cluster.run("sinfo", "--noheader", "--format=%R").split()
