"""Run a sweep on SLURM: start Ray's head, and keep as many workers as there is work for."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from care.errors import CareError
from care.system.claim import Claim, LostClaimError
from care.system.files import DiskError
from sweeps.backends.ray_session import connected
from sweeps.backends.slurm import commands
from sweeps.backends.slurm.autoscaling import StuckJobs, change, wanted
from sweeps.backends.slurm.network import address_of
from sweeps.backends.slurm.ray_node import RayNode
from sweeps.backends.slurm.state_files import Head, HeadState, PoolFolder, Request, WorkerState
from sweeps.backends.slurm.submission import submit_workers
from sweeps.backends.slurm.worker_job import run_worker
from sweeps.resources import Resources

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_QUEUE_SECONDS = 10.0
_LONGEST_BACKOFF_SECONDS = 600.0


class SlurmBackend:
    """Workers of a SLURM cluster.

    Args:
        folder: The sweep's files.
        resources: A worker's resources, and a trial's share of them.
        job_id: The driver job; empty outside of a job.
        cancelled: Called once when the sweep is cancelled.

    Attributes:
        jobs: The workers in SLURM's queue, as last seen.
    """

    def __init__(
        self,
        folder: PoolFolder,
        resources: Resources,
        job_id: str,
        cancelled: Callable[[], None],
    ) -> None:
        self.folder, self.resources = folder, resources
        self._cancelled = cancelled
        self._head = Head(job_id=job_id)
        self._left = 0
        self._over = threading.Event()
        self._writing = threading.Lock()
        self._retry_at, self._backoff = 0.0, _QUEUE_SECONDS
        self._complaint = ""
        self.jobs: list[commands.QueuedJob] = []
        self._stuck = StuckJobs()

    @property
    def concurrency(self) -> int | None:
        """Unlimited: Ray runs as many trials as the workers that have joined can take."""
        return None

    @property
    def slots(self) -> int:
        """Trials that run side by side when all workers have joined."""
        return self.folder.request().workers.most * self.resources.concurrency

    @contextlib.contextmanager
    def start(self, log: Path) -> Iterator[Path]:
        """Start Ray's head, connect to it, and keep the wanted number of workers."""
        request = self.folder.request()
        address = address_of(request.cluster.interface)
        name = os.environ.get("SLURM_JOB_ID", str(os.getpid()))
        ray_log = self.folder.jobs / f"ray-head-{name}.log"
        ray = RayNode(request.cluster.scratch, address, self.folder.token, ray_log)
        with ray:
            head = ray.start_head()
            thread = threading.Thread(target=self._keep_workers, name="elastic", daemon=True)
            with connected(head, log):
                generation = uuid.uuid4().hex
                self._update_head(state=HeadState.RUNNING, generation=generation, address=head)
                thread.start()
                try:
                    yield ray.node.folder
                finally:
                    self._over.set()
                    thread.join()

    def pause_trials(self) -> None:
        """Ask every running trial to checkpoint and pause, through the head's file."""
        # Called in a signal handler: the interrupted code may hold the lock.
        threading.Thread(target=self._update_head, kwargs={"state": HeadState.STOPPING}).start()

    def wants(self, trials: int) -> None:
        """Set the number of trials that are left, running ones among them."""
        self._left = trials

    def hold(self, claim: Claim) -> None:
        """Write the head's files through the driver's claim, which a superseded driver has lost."""
        self.folder.writer = claim

    def end(self, *, interrupted: bool) -> None:
        """Record that this head has ended.

        After an interrupted job the workers wait for the next one.
        """
        again = interrupted and bool(self._head.job_id) and not self.folder.request().cancel
        state = HeadState.STOPPING if again else HeadState.ENDED
        self._update_head(state=state, left=self._left if again else 0)
        if not again:
            with contextlib.suppress(commands.SlurmError):
                waiting = commands.jobs_named(self.folder.job_name("worker"))
                commands.cancel([job.job_id for job in waiting if job.pending])

    def _update_head(self, **changes: object) -> None:
        """Change fields of ``head.json``; a stopping head stays stopping."""
        with self._writing:
            stopping = self._head.state == HeadState.STOPPING
            if stopping and changes.get("state") == HeadState.RUNNING:
                return
            self._head = self._head.model_copy(update=changes)
            with contextlib.suppress(DiskError, LostClaimError):  # the next update writes it again
                self.folder.write_head(self._head)

    def _keep_workers(self) -> None:
        looked = 0.0
        while not self._over.wait(_LOOK_SECONDS):
            try:
                request = self.folder.request()
                if request.cancel:
                    self._cancelled()
                    return
                if time.monotonic() - looked > _QUEUE_SECONDS or not looked:
                    looked = time.monotonic()
                    self._adjust(request)
                if self._head.left != self._left:
                    self._update_head(left=self._left)
            except (CareError, OSError) as error:
                self._warn_once(f"The workers cannot be adjusted for now ({error}).")

    def _adjust(self, request: Request) -> None:
        """Submit, cancel and release workers."""
        self.jobs = commands.jobs_named(self.folder.job_name("worker"))
        for job in self.jobs:
            if job.held_back:
                commands.start_now(job.job_id)
        target = wanted(self._left, self.resources.concurrency, request.workers)
        workers = self.folder.workers()
        jobs = self._stuck.leave_out(self.jobs, time.monotonic())
        todo = change(target, jobs, workers, request.cluster.idle_seconds)
        commands.cancel(list(todo.cancel))
        if set(todo.release) != set(self._head.release):
            self._update_head(release=todo.release)
        joined = {job for job, worker in workers.items() if worker.state == WorkerState.RUNNING}
        if any(job.running and job.job_id in joined for job in self.jobs):
            self._backoff = _QUEUE_SECONDS
        if todo.submit and time.monotonic() >= self._retry_at:
            self._submit(request, todo.submit)

    def _submit(self, request: Request, count: int) -> None:
        """Submit workers, and delay the next submission longer while none of them joins."""
        self._retry_at = time.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, _LONGEST_BACKOFF_SECONDS)
        try:
            submitted = submit_workers(self.folder, request, count, run_worker)
        except commands.SlurmError as error:
            self._warn_once(f"No worker can be submitted for now ({error}).")
            return
        self._complaint = ""
        _log.info("%d workers submitted: %s", count, ", ".join(submitted))

    def _warn_once(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            _log.warning("%s It is tried again.", text)
