"""Run a sweep with a pool of workers: start Ray's head, and keep the workers it needs."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from care.errors import CareError
from care.system.claim import Claim, LostClaimError
from care.system.files import DiskError
from sweeps.backends.ray_session import connected
from sweeps.backends.slurm.autoscaling import Volunteers, slots_of, wanted
from sweeps.backends.slurm.code_snapshot import needed_versions
from sweeps.backends.slurm.commands import QueuedJob
from sweeps.backends.slurm.elastic_jobs import ElasticJobs
from sweeps.backends.slurm.network import address_of
from sweeps.backends.slurm.ray_node import RayNode
from sweeps.backends.slurm.state_files import Head, HeadState, PoolFolder, Request, WorkerStatus
from sweeps.resources import Resources

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_QUEUE_SECONDS = 10.0


class PoolBackend:
    """Workers that find this head by its files, and come and go.

    Args:
        folder: The sweep's files.
        resources: A worker's resources, and a trial's share of them.
        job_id: The driver job; empty outside of a job.

    Attributes:
        on_cancel: Called once when the sweep is cancelled.
        joined: The workers that joined by themselves, as last seen.
    """

    def __init__(self, folder: PoolFolder, resources: Resources, job_id: str = "") -> None:
        self.folder, self.resources = folder, resources
        self.on_cancel: Callable[[], None] = lambda: None
        self._head = Head(
            job_id=job_id,
            versions=needed_versions(),
            threads=resources.threads,
            gpus=resources.gpus,
        )
        self._left = 0
        self._over = threading.Event()
        self._writing = threading.Lock()
        self._complaint = ""
        self.joined: Sequence[WorkerStatus] = ()
        self._volunteers = Volunteers()

    @property
    def concurrency(self) -> int | None:
        """Unlimited: Ray runs as many trials as the workers that have joined can take."""
        return None

    @property
    def slots(self) -> int:
        """Trials that run side by side on one worker."""
        return self.resources.concurrency

    @property
    def queued(self) -> Sequence[QueuedJob]:
        """The workers in SLURM's queue, as last seen."""
        return ()

    @contextlib.contextmanager
    def start(self, log: Path) -> Iterator[Path]:
        """Start Ray's head, connect to it, and watch over its workers."""
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
                    self.on_cancel()
                    return
                if time.monotonic() - looked > _QUEUE_SECONDS or not looked:
                    looked = time.monotonic()
                    self._adjust(request)
                if self._head.left != self._left:
                    self._update_head(left=self._left)
            except (CareError, OSError) as error:
                self._warn_once(f"The workers cannot be adjusted for now ({error}).")

    def _adjust(self, request: Request) -> None:
        """Look who has joined, and adjust the other workers to that."""
        workers = self.folder.workers()
        self.joined = self._volunteers.living(workers, time.monotonic())
        for name in self._volunteers.silent:
            self.folder.remove_worker(name)
        release = self._adjust_jobs(request, workers)
        if set(release) != set(self._head.release):
            self._update_head(release=release)
        self._complaint = ""

    def _adjust_jobs(
        self,
        request: Request,  # noqa: ARG002
        workers: Mapping[str, WorkerStatus],  # noqa: ARG002
    ) -> tuple[str, ...]:
        """Return the workers that may leave; without jobs each leaves as it likes."""
        return ()

    def _warn_once(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            _log.warning("%s", text)


class SlurmBackend(PoolBackend):
    """Workers of a SLURM cluster, as many as there is work for."""

    def __init__(self, folder: PoolFolder, resources: Resources, job_id: str) -> None:
        super().__init__(folder, resources, job_id)
        self._jobs = ElasticJobs(folder)

    @property
    def slots(self) -> int:
        """Trials that run side by side when all workers have joined."""
        return self.folder.request().workers.most * self.resources.concurrency

    @property
    def queued(self) -> Sequence[QueuedJob]:
        """The workers in SLURM's queue, as last seen."""
        return self._jobs.queued

    def end(self, *, interrupted: bool) -> None:
        """Record that this head has ended, and cancel waiting jobs if no other head follows."""
        super().end(interrupted=interrupted)
        if self._head.state == HeadState.ENDED:
            self._jobs.cancel_waiting()

    def _adjust_jobs(
        self, request: Request, workers: Mapping[str, WorkerStatus]
    ) -> tuple[str, ...]:
        """Submit, cancel and release workers, in view of those that have joined."""
        taken = sum(slots_of(worker, request.cluster.idle_seconds) for worker in self.joined)
        target = wanted(self._left, self.resources.concurrency, request.workers, taken)
        return self._jobs.adjust(target, request, workers)
