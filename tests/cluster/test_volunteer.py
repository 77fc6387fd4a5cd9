"""``care worker`` on the cluster: a machine outside of the sweep's jobs joins it and leaves."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.conftest import Cluster
from tests.helpers.pooling import Pool, Volunteer, wait_until

MakePool = Callable[..., Pool]
StartVolunteer = Callable[[Pool], Volunteer]


@pytest.fixture
def allocation(cluster: Cluster) -> Iterator[StartVolunteer]:
    """Starts a volunteer in an allocation of a GPU, as ``srun --pty`` does in one of salloc."""
    ask = ["srun", "--partition=high", "--gres=gpu:1", "--cpus-per-task=1", "--no-kill"]
    with ExitStack() as stack:
        yield lambda sweep: stack.enter_context(Volunteer(sweep, ask, on=cluster.on))


@pytest.mark.long
def test_it_trains_leaves_returns_and_is_killed(
    cluster: Cluster, pool: MakePool, undisturbed: Path, allocation: StartVolunteer
) -> None:
    sweep = pool(wait=0.5)
    sweep.submit("1:1")
    sweep.wait_for_training(1)
    first = allocation(sweep)
    trial = first.wait_for_trial()
    status = sweep.care("sweep", "status", sweep.name)
    assert "1 running" in status
    assert f"1 joined ({first.host})" in status
    epoch = sweep.epochs(trial)
    first.signal(signal.SIGINT)
    assert first.wait() == 0
    assert "This machine has left pooled; nothing is lost" in first.output
    sweep.assert_went_on(trial, epoch, interrupted=False)
    assert not sweep.joined()

    second = allocation(sweep)
    second.wait_for_trial()
    cluster.run("scontrol", "requeue", sweep.head()["job_id"])
    wait_until(lambda: second.output.count("joined the head at") == 2, what=second.output)
    trial = second.wait_for_trial()
    processes = second.ray_processes()
    assert processes
    second.signal(signal.SIGKILL)
    wait_until(lambda: not processes & second.ray_processes(), what="its Ray ends with it")
    sweep.wait_for_end()
    sweep.assert_as_undisturbed(undisturbed)
    sweep.assert_went_on(trial, 0, interrupted=False)


def test_who_may_not_join(cluster: Cluster, pool: MakePool, tmp_path: Path) -> None:
    sweep = pool(seeds=1)
    sweep.prepare()
    assert "sweep: got 'poled'" in sweep.care("worker", "poled", check=False)
    sweep.submit("1:1")
    assert "did you mean 'pooled'?" in sweep.care("worker", "poled", check=False)
    sweep.wait_for_training(1)
    said = sweep.care("worker", sweep.name, check=False)
    assert "a trial of this sweep needs 1 of the cores and 1 of the GPUs" in said
    outside = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "care2"}
    sweep.environment |= outside
    assert "srun --pty care worker" in sweep.care("worker", sweep.name, check=False)
    for name in outside:
        del sweep.environment[name]
    link = tmp_path / "runs"
    link.symlink_to(sweep.folder / "runs")  # a path of its own is enough, if the head's exists
    said = sweep.care("worker", sweep.name, "--store", str(link), check=False)
    assert "a trial of this sweep needs" in said
    sweep.care("sweep", "cancel", sweep.name)
    assert "pooled is cancelled. Start it, then join: care sweep submit" in sweep.care(
        "worker", sweep.name, check=False
    )
