"""A worker's job: its part of a node in the sweep's Ray, for as long as SLURM and the sweep want.

It outlives heads: when one is gone its trials checkpoint and pause, and the next one finds it
waiting. What it never does is end a trial that could have saved its place.
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
from sweeps.backends.slurm.config import ClusterConfig
from sweeps.backends.slurm.network import address_of, answers
from sweeps.backends.slurm.preemption import Deadline, end_of_this_job, this_job
from sweeps.backends.slurm.ray_node import RayNode
from sweeps.backends.slurm.state_files import Head, HeadState, PoolFolder, WorkerState, WorkerStatus
from sweeps.store import Store

_LOOK_SECONDS = 1.0
_REPORT_SECONDS = 5.0
# Part of the grace period in which trials save; Ray ends, and the job with it, in the rest.
_SAVING = 0.75
_LONGEST_PAUSE_SECONDS = 60.0
_HEAD_MISSED = 3
_STABLE_SECONDS = 30.0  # a Ray that lives so long was not refused


def run_worker(store: str, name: str) -> None:
    """The job: work until nothing is left, then leave; go back to the queue when time is up."""
    folder = PoolFolder(Store(Path(store)), name)
    cluster = folder.request().cluster
    deadline = Deadline(end_of_this_job(), cluster.grace_seconds)
    deadline.watch_signals()
    job_id = this_job()
    ray_log = folder.jobs / f"ray-worker-{job_id}.log"
    with RayNode(cluster.scratch, address_of(cluster.interface), folder.token, ray_log) as ray:
        worker = Worker(folder, job_id, ray, deadline, cluster)
        worker.run()
    if deadline.passed == "time" and folder.head().left and not folder.request().cancel:
        # Where that is not allowed, the head submits another worker.
        with contextlib.suppress(commands.SlurmError):
            commands.requeue(job_id)


class Worker:
    """Keeps this node's Ray with whichever head there is.

    Args:
        folder: The pool's files.
        job_id: This job.
        ray: This node's Ray.
        deadline: When to end.
        cluster: Its ``grace_seconds``, and ``wait_seconds``, the longest time without a Ray.
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
        self._head: Head | None = None  # the one whose Ray this node is in
        self._given = Allocation.of_this_job()
        self._busy_at = self._useful_at = self._joined_at = time.monotonic()
        self._join_at, self._pause = 0.0, 1.0
        self._missed = 0
        self._reported_at = 0.0

    def run(self) -> None:
        """Return when this worker has to leave, with its trials paused and its Ray ended."""
        self._report(WorkerState.WAITING)
        while not self._has_to_leave(head := self._folder.head()):
            if self._head is None:
                self._join(head)
            elif self._lost(head):
                self._leave_head()
            else:
                self._look_after_trials()
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
        """Whether the Ray that this node is in has ended, or is about to."""
        assert self._head is not None
        if head.generation != self._head.generation or head.state != HeadState.RUNNING:
            return True
        if not self._ray.running:
            # It may be refused at once, again and again.
            self._join_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            return True
        self._missed = 0 if answers(head.address) else self._missed + 1
        return self._missed >= _HEAD_MISSED

    def _leave_head(self) -> None:
        """Have the trials checkpoint, then end this node's Ray."""
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

    def _look_after_trials(self) -> None:
        if self._running_trials():
            self._busy_at = time.monotonic()
        if time.monotonic() - self._joined_at > _STABLE_SECONDS:
            self._useful_at, self._pause = time.monotonic(), 1.0
        if time.monotonic() - self._reported_at > _REPORT_SECONDS:
            self._report(WorkerState.RUNNING)

    def _running_trials(self) -> list[Path]:
        """Trials of this node; the claims of those whose process is dead are freed.

        Another node could only wait until such a claim has been silent for two minutes.
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
