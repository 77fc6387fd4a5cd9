"""Decide when a job must end: shortly before its wall time is over, or at a signal from SLURM.

The handlers only record a signal; the job's loop acts on it. SLURM sends:

=========  =====================================================================================
``USR2``   shortly before the end of the wall time, as submitit asks: the job requeues itself
``TERM``   at pre-emption, after which SLURM requeues the job, and at ``scancel``
=========  =====================================================================================
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from types import FrameType
from typing import Literal

from sweeps.backends.slurm import commands
from sweeps.backends.slurm.durations import parse_duration

End = Literal["time", "signal"]


class Deadline:
    """The end of this job, by time or by signal.

    Args:
        ends_at: When SLURM ends the job, in seconds since 1970; None without a limit.
        grace: Seconds that the job needs to end by itself.
    """

    def __init__(self, ends_at: float | None, grace: float) -> None:
        self._ends_at = ends_at - grace if ends_at else None
        self._end: End | None = None

    def watch_signals(self) -> None:
        """Install the handlers, in place of submitit's."""
        signal.signal(signal.SIGUSR2, self._handle)
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)

    def end(self) -> None:
        """End the time now; safe in a signal handler."""
        self._end = "signal"

    @property
    def passed(self) -> End | None:
        """Why the job must end now; None while it may run."""
        if self._end is None and self._ends_at is not None and time.time() >= self._ends_at:
            self._end = "time"
        return self._end

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._end = "time" if number == signal.SIGUSR2 else "signal"


def this_job(environment: Mapping[str, str] = os.environ) -> str:
    """Return this job's identity as in squeue: ``123``, or ``123_4`` of an array."""
    array = environment.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{environment['SLURM_ARRAY_TASK_ID']}" if array else environment["SLURM_JOB_ID"]


def end_of_this_job(environment: Mapping[str, str] = os.environ) -> float | None:
    """Return when SLURM ends this job, in seconds since 1970; None without a limit."""
    end = environment.get("SLURM_JOB_END_TIME")  # set by SLURM 23.02 and later
    if end:
        return float(end)
    job = this_job(environment)
    try:
        left = commands.run("squeue", "--noheader", f"--jobs={job}", "--format=%L").strip()
    except commands.SlurmError:
        return None  # SLURM's own signal comes before the end
    seconds = parse_duration(left)
    return time.time() + seconds if seconds is not None else None
