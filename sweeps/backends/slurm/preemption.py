"""When a job has to end: shortly before its wall time is over, or when SLURM says so.

A signal is only noted here; the job's own loop looks at it. What each one means:

=========  =====================================================================================
``USR2``   the wall time is almost over (submitit asks SLURM for it): put the job back in the queue
``TERM``   pre-emption, which puts the job back by itself, or ``scancel``, which must not
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

End = Literal["time", "told"]


class Deadline:
    """Notes the signals of SLURM from its making on.

    Args:
        ends_at: Seconds since 1970 at which SLURM ends the job; None when it does not.
        grace: Seconds that the job needs before that.
    """

    def __init__(self, ends_at: float | None, grace: float) -> None:
        self._ends_at = ends_at - grace if ends_at else None
        self._end: End | None = None

    def watch_signals(self) -> None:
        """Install the handlers, in place of submitit's."""
        signal.signal(signal.SIGUSR2, self._handle)
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)

    @property
    def passed(self) -> End | None:
        """Why the job has to end now; None when it has not to."""
        if self._end is None and self._ends_at is not None and time.time() >= self._ends_at:
            self._end = "time"
        return self._end

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._end = "time" if number == signal.SIGUSR2 else "told"


def this_job(environment: Mapping[str, str] = os.environ) -> str:
    """This job as squeue calls it: ``123``, or ``123_4`` of an array."""
    array = environment.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{environment['SLURM_ARRAY_TASK_ID']}" if array else environment["SLURM_JOB_ID"]


def end_of_this_job(environment: Mapping[str, str] = os.environ) -> float | None:
    """When SLURM ends this job, in seconds since 1970; None when it has no limit."""
    told = environment.get("SLURM_JOB_END_TIME")  # by SLURM 23.02 and later
    if told:
        return float(told)
    job = this_job(environment)
    try:
        left = commands.run("squeue", "--noheader", f"--jobs={job}", "--format=%L").strip()
    except commands.SlurmError:
        return None  # SLURM's own signal comes before the end
    seconds = parse_duration(left)
    return time.time() + seconds if seconds is not None else None
