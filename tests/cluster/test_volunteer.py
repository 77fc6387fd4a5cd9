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
def test_it_trains_leaves_returns_and_follows_a_new_head(
    cluster: Cluster, pool: MakePool, undisturbed: Path, allocation: StartVolunteer
) -> None:
    sweep = pool(wait=0.5)
    sweep.submit("1:1")
    sweep.wait_for_training(1)
    said = sweep.care("worker", sweep.name, check=False)  # here, where torch sees no GPU
    assert "a trial of this sweep needs 1 of the cores and 1 of the GPUs" in said
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
    second.wait_for_trial()
    sweep.wait_for_end()
    sweep.assert_as_undisturbed(undisturbed)
