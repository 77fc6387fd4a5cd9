"""The driver's side of a pool's jobs: submit, cancel and release workers of SLURM."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence

from sweeps.backends.slurm import commands
from sweeps.backends.slurm.autoscaling import StuckJobs, change
from sweeps.backends.slurm.state_files import PoolFolder, Request, WorkerState, WorkerStatus
from sweeps.backends.slurm.submission import submit_workers
from sweeps.backends.slurm.worker_job import run_worker

_log = logging.getLogger(__name__)

_PAUSE_SECONDS = 10.0
_LONGEST_BACKOFF_SECONDS = 600.0


class ElasticJobs:
    """The workers of one sweep in SLURM's queue.

    Args:
        folder: The sweep's files.

    Attributes:
        queued: The workers in the queue, as last seen.
    """

    def __init__(self, folder: PoolFolder) -> None:
        self._folder = folder
        self.queued: Sequence[commands.QueuedJob] = ()
        self._retry_at, self._backoff = 0.0, _PAUSE_SECONDS
        self._stuck = StuckJobs()

    def adjust(
        self, target: int, request: Request, workers: Mapping[str, WorkerStatus]
    ) -> tuple[str, ...]:
        """Submit and cancel workers.

        Args:
            target: The wanted number of workers.
            request: The submission.
            workers: Last state of each worker, by job.

        Returns:
            Jobs of the workers that may leave.

        Raises:
            SlurmError: SLURM does not answer, or refuses a job.
        """
        self.queued = commands.jobs_named(self._folder.job_name("worker"))
        for job in self.queued:
            if job.held_back:
                commands.start_now(job.job_id)
        jobs = self._stuck.leave_out(self.queued, time.monotonic())
        todo = change(target, jobs, workers, request.cluster.idle_seconds)
        commands.cancel(list(todo.cancel))
        joined = {job for job, worker in workers.items() if worker.state == WorkerState.RUNNING}
        if any(job.running and job.job_id in joined for job in self.queued):
            self._backoff = _PAUSE_SECONDS
        if todo.submit and time.monotonic() >= self._retry_at:
            self._submit(request, todo.submit)
        return todo.release

    def _submit(self, request: Request, count: int) -> None:
        """Submit workers, and delay the next submission longer while none of them joins."""
        self._retry_at = time.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, _LONGEST_BACKOFF_SECONDS)
        try:
            submitted = submit_workers(self._folder, request, count, run_worker)
        except commands.SlurmError as error:
            raise commands.SlurmError(f"no worker can be submitted: {error}") from error
        _log.info("%d workers submitted: %s", count, ", ".join(submitted))

    def cancel_waiting(self) -> None:
        """Cancel the workers that wait in the queue, if SLURM answers."""
        with contextlib.suppress(commands.SlurmError):
            waiting = commands.jobs_named(self._folder.job_name("worker"))
            commands.cancel([job.job_id for job in waiting if job.pending])
