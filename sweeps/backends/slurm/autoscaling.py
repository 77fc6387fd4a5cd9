"""How many workers there should be, and which may go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.backends.slurm.commands import QueuedJob
from sweeps.backends.slurm.state_files import Workers, WorkerState, WorkerStatus


@dataclass(frozen=True)
class Change:
    """What to do.

    Attributes:
        submit: Workers to submit.
        cancel: Jobs that wait and are not needed.
        release: Workers without a trial that may leave.
    """

    submit: int = 0
    cancel: tuple[str, ...] = ()
    release: tuple[str, ...] = ()


def wanted(left: int, per_worker: int, workers: Workers) -> int:
    """Workers for ``left`` trials, of which a worker takes ``per_worker`` side by side."""
    if left == 0:
        return 0
    return min(workers.most, max(workers.least, math.ceil(left / per_worker)))


def change(
    target: int,
    jobs: Sequence[QueuedJob],
    statuses: Mapping[str, WorkerStatus],
    idle_seconds: float,
) -> Change:
    """From the workers that there are to ``target`` of them.

    A worker with a trial is never sent away, and an idle one only after a while: what waits in the
    queue again costs more than what idles a minute. A suspended worker counts: it comes back, and
    there would be too many.

    Args:
        target: Workers that there should be.
        jobs: The workers in SLURM's queue.
        statuses: What they wrote last, by job.
        idle_seconds: How long a worker has to have been idle.
    """
    pending = [job.job_id for job in jobs if job.pending]
    running = [job.job_id for job in jobs if job.running]
    surplus = sum(job.present for job in jobs) - target
    if surplus <= 0:
        return Change(submit=-surplus)
    cancel = tuple(reversed(pending))[:surplus]
    idle = [job for job in running if _idle(statuses.get(job)) >= idle_seconds]
    return Change(cancel=cancel, release=tuple(idle[: surplus - len(cancel)]))


def _idle(worker: WorkerStatus | None) -> float:
    """Return the seconds since a trial last trained; 0 for a worker that has not joined."""
    return worker.idle if worker and worker.state == WorkerState.RUNNING else 0.0
