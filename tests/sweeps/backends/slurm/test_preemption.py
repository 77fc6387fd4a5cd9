"""When a job has to end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from sweeps.backends.slurm.preemption import Deadline, end_of_this_job, this_job

SIGNALS = (signal.SIGUSR2, signal.SIGTERM, signal.SIGCONT)


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_job_ends_before_its_time_is_over() -> None:
    assert Deadline(time.time() + 100, grace=90).passed is None
    assert Deadline(time.time() + 100, grace=110).passed == "time"
    assert Deadline(None, grace=110).passed is None


@pytest.mark.parametrize(("number", "why"), [(signal.SIGUSR2, "time"), (signal.SIGTERM, "signal")])
def test_signals_are_noted(handlers: None, number: int, why: str) -> None:
    deadline = Deadline(None, grace=0)
    deadline.watch_signals()
    assert deadline.passed is None
    os.kill(os.getpid(), number)
    assert deadline.passed == why


def test_pre_emption_is_not_taken_for_the_wall_time(handlers: None) -> None:
    """A job that put itself back after scancel would come back for ever."""
    deadline = Deadline(time.time() + 0.3, grace=0)
    deadline.watch_signals()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.4)
    assert deadline.passed == "signal"


def test_slurm_tells_the_end_and_the_job() -> None:
    assert end_of_this_job({"SLURM_JOB_END_TIME": "1700000000"}) == 1_700_000_000
    assert this_job({"SLURM_JOB_ID": "7"}) == "7"
    array = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}
    assert this_job(array) == "7_2"
