"""The number of workers: how many to submit, which to cancel or release."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.backends.slurm.commands import QueuedJob
from sweeps.backends.slurm.state_files import Workers, WorkerState, WorkerStatus

# KillWait, 30 s unless a site changed it, and an epilog.
_LONGEST_COMPLETING_SECONDS = 120.0
_SILENT_SECONDS = 30.0


@dataclass(frozen=True)
class Change:
    """Workers to submit, cancel and release.

    Attributes:
        submit: Workers to submit.
        cancel: Jobs that wait in the queue and are not needed.
        release: Workers without a trial that may leave.
    """

    submit: int = 0
    cancel: tuple[str, ...] = ()
    release: tuple[str, ...] = ()


class StuckJobs:
    """Jobs that have been completing for so long that they will hardly be queued again."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def leave_out(self, jobs: Sequence[QueuedJob], now: float) -> list[QueuedJob]:
        """Return the jobs without stuck ones; to be called at each look at the queue.

        Args:
            jobs: All workers in SLURM's queue.
            now: Seconds of a clock that never goes back.
        """
        since = {job.job_id: self._since.get(job.job_id, now) for job in jobs if job.completing}
        self._since = since
        stuck = {job for job, at in since.items() if now - at >= _LONGEST_COMPLETING_SECONDS}
        return [job for job in jobs if job.job_id not in stuck]


class Volunteers:
    """Workers that joined by themselves (``care worker``), while they show signs of life.

    Attributes:
        silent: Names of those that show none, as after SIGKILL, which leaves their state behind.
    """

    def __init__(self) -> None:
        self.silent: list[str] = []
        self._seen: dict[str, tuple[float, float]] = {}

    def living(self, workers: Mapping[str, WorkerStatus], now: float) -> list[WorkerStatus]:
        """Return those that live; to be called at each look at the workers.

        Clocks of machines differ, so a state's time is a sign of life only when it changes.

        Args:
            workers: Last states of all workers, by name.
            now: Seconds of a clock that never goes back.
        """
        joined = {name: worker for name, worker in workers.items() if worker.joined}
        seen = {}
        for name, worker in joined.items():
            at, since = self._seen.get(name, (worker.at, now))
            seen[name] = (worker.at, since if at == worker.at else now)
        self._seen = seen
        self.silent = [name for name, (_, at) in seen.items() if now - at >= _SILENT_SECONDS]
        return [worker for name, worker in joined.items() if name not in self.silent]


def slots_of(worker: WorkerStatus, idle_seconds: float) -> int:
    """Count the trials that need no job because a volunteer trains them, or soon will.

    One that is idle although trials are left takes none of them: they may be too large for it.
    """
    return worker.slots if worker.idle < idle_seconds else 0


def wanted(left: int, per_worker: int, workers: Workers, taken: int = 0) -> int:
    """Return the number of worker jobs.

    Args:
        left: Trials that wait or run.
        per_worker: Trials that a worker runs at once.
        workers: Range of the number of jobs, also if volunteers could run all trials.
        taken: Trials that volunteers run at once.
    """
    if left == 0:
        return 0
    needed = math.ceil(max(0, left - taken) / per_worker)
    return min(workers.most, max(workers.least, needed))


def change(
    target: int,
    jobs: Sequence[QueuedJob],
    statuses: Mapping[str, WorkerStatus],
    idle_seconds: float,
) -> Change:
    """Choose the changes that lead to ``target`` workers.

    A worker with a trial is never released, and an idle one only after a while: a new wait in the
    queue costs more than an idle minute. A suspended worker counts, since it may resume. None is
    submitted in place of a job that is completing, since it may have been requeued.

    Args:
        target: The wanted number of workers.
        jobs: The workers in SLURM's queue.
        statuses: Their last states, by job.
        idle_seconds: Shortest idle time of a worker that is released.
    """
    pending = [job.job_id for job in jobs if job.pending]
    running = [job.job_id for job in jobs if job.running]
    surplus = sum(job.present for job in jobs) - target
    if surplus <= 0:
        return Change(submit=max(0, -surplus - sum(job.completing for job in jobs)))
    cancel = tuple(reversed(pending))[:surplus]
    idle = [job for job in running if _idle(statuses.get(job)) >= idle_seconds]
    return Change(cancel=cancel, release=tuple(idle[: surplus - len(cancel)]))


def _idle(worker: WorkerStatus | None) -> float:
    """Return the seconds since a trial last trained; 0 for a worker that has not joined."""
    return worker.idle if worker and worker.state == WorkerState.RUNNING else 0.0
