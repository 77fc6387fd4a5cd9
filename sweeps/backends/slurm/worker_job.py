"""Run a worker job: join the sweep's Ray with a share of a node until no work is left.

A worker outlives heads: its trials checkpoint and pause when a head is lost, and it joins the next
one. It never ends a trial that could still checkpoint.
"""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

from care.errors import CareError
from care.system.claim import release_dead
from sweeps.backends.slurm import commands
from sweeps.backends.slurm.allocation import Allocation
from sweeps.backends.slurm.code_snapshot import check_code
from sweeps.backends.slurm.config import ClusterConfig
from sweeps.backends.slurm.network import address_of, answers
from sweeps.backends.slurm.preemption import Deadline, end_of_this_job, this_job
from sweeps.backends.slurm.ray_node import RayNode
from sweeps.backends.slurm.state_files import Head, HeadState, PoolFolder, WorkerState, WorkerStatus
from sweeps.store import Store

_LOOK_SECONDS = 1.0
_REPORT_SECONDS = 5.0
# Share of the grace period for the checkpoints of trials; Ray and the job end in the rest.
_SAVING = 0.75
_LONGEST_PAUSE_SECONDS = 60.0
_HEAD_MISSED = 3
_STABLE_SECONDS = 30.0  # a Ray that runs this long was not refused


def run_worker(store: str, name: str) -> None:
    """Run the job: leave when no work is left, requeue when the wall time is almost over."""
    folder = PoolFolder(Store(Path(store)), name)
    request = folder.request()
    check_code(request.code)
    cluster = request.cluster
    deadline = Deadline(end_of_this_job(), cluster.grace_seconds)
    deadline.watch_signals()
    job_id = this_job()
    ray_log = folder.jobs / f"ray-worker-{job_id}.log"
    with RayNode(cluster.scratch, address_of(cluster.interface), folder.token, ray_log) as ray:
        worker = Worker(folder, job_id, ray, deadline, cluster)
        worker.run()
    if deadline.passed == "time" and folder.head().left and not folder.request().cancel:
        # If requeueing is not allowed, the head submits another worker.
        with contextlib.suppress(commands.SlurmError):
            commands.requeue(job_id)


class Worker:
    """Connects this node's Ray to the current head.

    Args:
        folder: The sweep's files.
        job_id: This job.
        ray: This node's Ray.
        deadline: When the job must end.
        cluster: The cluster file.
    """

    def __init__(
        self,
        folder: PoolFolder,
        job_id: str,
        ray: RayNode,
        deadline: Deadline,
        cluster: ClusterConfig,
    ) -> None:
        self._folder, self._job_id, self._ray = folder, job_id, ray
        self._deadline, self._wait_seconds = deadline, cluster.wait_seconds
        self._save_seconds = _SAVING * cluster.grace_seconds
        self._head: Head | None = None  # whose Ray this node has joined
        self._given = Allocation.of_this_job()
        self._busy_at = self._useful_at = self._joined_at = time.monotonic()
        self._join_at, self._pause = 0.0, 1.0
        self._missed = 0
        self._reported_at = 0.0

    def run(self) -> None:
        """Run until this worker must leave, then pause its trials and end its Ray."""
        self._report(WorkerState.WAITING)
        while not self._has_to_leave(head := self._folder.head()):
            if self._head is None:
                self._join(head)
            elif self._lost(head):
                self._leave_head()
            else:
                self._check_trials()
            time.sleep(_LOOK_SECONDS)
        self._leave_head()
        self._report(WorkerState.LEFT)

    def _has_to_leave(self, head: Head) -> bool:
        if self._deadline.passed or head.state == HeadState.ENDED or self._job_id in head.release:
            return True
        waited = time.monotonic() - self._useful_at
        return self._head is None and waited > self._wait_seconds

    def _join(self, head: Head) -> None:
        if head.state != HeadState.RUNNING or time.monotonic() < self._join_at:
            return
        if not answers(head.address):
            return
        self._ray.node.resume()
        self._ray.start_worker(head.address, self._given)
        self._head, self._missed = head, 0
        self._busy_at = self._joined_at = time.monotonic()
        self._report(WorkerState.RUNNING)

    def _lost(self, head: Head) -> bool:
        """Check whether the Ray that this node has joined has ended, or is ending."""
        assert self._head is not None
        if head.generation != self._head.generation or head.state != HeadState.RUNNING:
            return True
        if not self._ray.running:
            # The head may refuse it every time.
            self._join_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            return True
        self._missed = 0 if answers(head.address) else self._missed + 1
        return self._missed >= _HEAD_MISSED

    def _leave_head(self) -> None:
        """Pause the trials at a checkpoint, then end this node's Ray."""
        if self._head is None:
            return
        self._report(WorkerState.PAUSING)
        self._ray.node.pause_trials()
        end = time.monotonic() + self._save_seconds
        while self._ray.running and self._running_trials() and time.monotonic() < end:
            time.sleep(0.2)
        self._ray.stop()
        self._running_trials()
        self._head = None
        self._report(WorkerState.WAITING)

    def _check_trials(self) -> None:
        if self._running_trials():
            self._busy_at = time.monotonic()
        if time.monotonic() - self._joined_at > _STABLE_SECONDS:
            self._useful_at, self._pause = time.monotonic(), 1.0
        if time.monotonic() - self._reported_at > _REPORT_SECONDS:
            self._report(WorkerState.RUNNING)

    def _running_trials(self) -> list[Path]:
        """List the trials of this node, and release the claims of those whose process is dead.

        Other nodes would have to wait until the heartbeat of such a claim has expired.
        """
        living = []
        for trial in self._ray.node.trials():
            try:
                dead = release_dead(trial)
            except (OSError, CareError):
                dead = False
            if dead:
                self._ray.node.leave(trial)
            else:
                living.append(trial)
        return living

    def _report(self, state: WorkerState) -> None:
        self._reported_at = time.monotonic()
        status = WorkerStatus(
            at=time.time(),
            state=state,
            node=socket.gethostname(),
            trials=tuple(trial.name for trial in self._ray.node.trials()),
            idle=round(time.monotonic() - self._busy_at, 1),
            cpus=self._given.cpus,
            gpus=self._given.gpus,
        )
        self._folder.write_worker(self._job_id, status)
