"""What SLURM's commands print, as several versions and sites print it."""

from __future__ import annotations

import pytest

from sweeps.backends.slurm import commands
from sweeps.backends.slurm.commands import QueuedJob, SlurmError, count_gpus


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("(null)", 0),
        ("gpu:2", 2),
        ("gpu:a100:4", 4),
        ("gpu:a100:4(S:0-1)", 4),
        ("gpu:h100:8(S:0,1),nvme:1", 1 + 7),
        ("gpu:a100:2,gpu:v100:3", 5),
        ("lustre:1", 0),
        ("gpu", 1),
    ],
)
def test_gpus_of_a_node(text: str, gpus: int) -> None:
    assert count_gpus(text) == gpus


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(
        SlurmError, match=r"no-such-slurm-command: no such command; is this a SLURM node"
    ):
        commands.run("no-such-slurm-command")


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(SlurmError, match=r"sh: broken"):
        commands.run("sh", "-c", "echo broken >&2; exit 3")


@pytest.mark.parametrize(
    ("state", "reason", "running", "pending", "held"),
    [
        ("RUNNING", "None", True, False, False),
        ("PENDING", "Priority", False, True, False),
        ("PENDING", "BeginTime", False, True, True),
        ("COMPLETING", "None", False, False, False),
    ],
)
def test_states_of_a_job(state: str, reason: str, running: bool, pending: bool, held: bool) -> None:
    job = QueuedJob("1_2", state, "", reason)
    assert (job.running, job.pending, job.held_back) == (running, pending, held)


@pytest.mark.parametrize(
    ("state", "present", "suspended"),
    [
        ("RUNNING", True, False),
        ("PENDING", True, False),
        ("CONFIGURING", True, False),
        ("SUSPENDED", True, True),
        ("STOPPED", True, True),
        ("SIGNALING", True, False),
        ("PREEMPTED", True, False),
        ("REQUEUED", True, False),
        ("A_STATE_OF_A_NEWER_SLURM", True, False),
        ("COMPLETING", False, False),
        ("COMPLETED", False, False),
        ("CANCELLED", False, False),
        ("NODE_FAIL", False, False),
        ("TIMEOUT", False, False),
    ],
)
def test_a_job_that_may_come_back_is_there(state: str, present: bool, suspended: bool) -> None:
    job = QueuedJob("1", state, "", "")
    assert (job.present, job.suspended) == (present, suspended)
