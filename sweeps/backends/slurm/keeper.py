"""Keep a machine's Ray joined to a sweep's current head, until no work is left.

A keeper outlives heads: its trials checkpoint and pause when a head is lost, and it joins the next
one. It never ends a trial that could still checkpoint.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from care.errors import CareError
from care.system.claim import release_dead
from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder
from sweeps.backends.slurm.allocation import Allocation
from sweeps.backends.slurm.config import ClusterConfig
from sweeps.backends.slurm.network import answers
from sweeps.backends.slurm.preemption import Deadline
from sweeps.backends.slurm.ray_node import RayNode
from sweeps.backends.slurm.state_files import Head, HeadState, PoolFolder, WorkerState, WorkerStatus

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_REPORT_SECONDS = 5.0
# Share of the grace period for the checkpoints of trials; Ray and the job end in the rest.
_SAVING = 0.75
_LONGEST_PAUSE_SECONDS = 60.0
_HEAD_MISSED = 3
_DIGITS = 8  # of a trial's identity, which other commands take
_STABLE_SECONDS = 30.0  # a Ray that runs this long was not refused


class Keeper:
    """Connects this node's Ray to the current head.

    Args:
        folder: The sweep's files.
        name: Name of this worker: its job, or a name of its own.
        ray: This node's Ray.
        deadline: When the worker must leave.
        cluster: The cluster file.
        given: The worker's share of its node.
        joined: Whether the worker is no job of the sweep's, but joined by itself.
    """

    def __init__(
        self,
        folder: PoolFolder,
        name: str,
        ray: RayNode,
        deadline: Deadline,
        cluster: ClusterConfig,
        given: Allocation,
        *,
        joined: bool = False,
    ) -> None:
        self._folder, self._name, self._ray = folder, name, ray
        self._deadline, self._wait_seconds = deadline, cluster.wait_seconds
        self._save_seconds = _SAVING * cluster.grace_seconds
        self._head: Head | None = None  # whose Ray this node has joined
        self._seen, self._seen_at = Head(), time.monotonic()
        self._given, self._joined = given, joined
        self._shown: dict[str, Path] = {}
        self._busy_at = self._useful_at = self._joined_at = time.monotonic()
        self._join_at, self._pause = 0.0, 1.0
        self._missed = 0
        self._reported_at = 0.0

    def run(self) -> None:
        """Run until this worker must leave, then pause its trials and end its Ray."""
        self._report(WorkerState.WAITING)
        try:
            while not (reason := self._why_leave(head := self._read_head())):
                if self._head is None:
                    self._join(head)
                elif lost := self._why_lost(head):
                    _log.info("%s", lost)
                    self._leave_head()
                else:
                    self._check_trials()
                time.sleep(_LOOK_SECONDS)
            _log.info("leaving: %s", reason)
            self._leave_head()
        finally:
            # After a second Ctrl-C Ray runs still; others need not wait for the heartbeats.
            self._ray.stop()
            self._running_trials()
            self._report(WorkerState.LEFT)

    def _read_head(self) -> Head:
        """Read the head's state; the last one while the shared folder is unavailable."""
        try:
            self._seen, self._seen_at = self._folder.head(), time.monotonic()
        except DamagedFileError:
            if time.monotonic() - self._seen_at > self._wait_seconds:
                raise
        return self._seen

    def _why_leave(self, head: Head) -> str:
        """Explain why this worker must leave; empty while it may stay."""
        if self._deadline.passed:
            time_over = self._deadline.passed == "time"
            return "the time of this job is almost over" if time_over else "a signal asks for it"
        if head.state == HeadState.ENDED:
            return "the sweep has ended"
        if self._name in head.release:
            return "no trial waits for this worker"
        if self._head is None and time.monotonic() - self._useful_at > self._wait_seconds:
            return f"no head has answered for {self._wait_seconds} s (wait_seconds)"
        if self._head is None and self._folder.request().cancel:
            return "the sweep is cancelled"
        return ""

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
        _log.info("joined the head at %s with %s", head.address, self._given)

    def _why_lost(self, head: Head) -> str:
        """Explain why the Ray that this node has joined has ended, or ends; empty if it runs."""
        assert self._head is not None
        if head.state != HeadState.RUNNING:
            return "the head pauses the sweep"
        if head.generation != self._head.generation:
            return "another head has taken over"
        if not self._ray.running:
            # The head may refuse it every time.
            self._join_at = time.monotonic() + self._pause
            waits = f"this machine's Ray has ended and starts again in {self._pause:.0f} s"
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            return f"{waits}; {self._ray.explain_end()}"
        self._missed = 0 if answers(head.address) else self._missed + 1
        return f"{head.address} does not answer" if self._missed >= _HEAD_MISSED else ""

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
        self._show(self._running_trials())
        self._head = None
        self._report(WorkerState.WAITING)

    def _check_trials(self) -> None:
        trials = self._running_trials()
        self._show(trials)
        if trials:
            self._busy_at = time.monotonic()
        if time.monotonic() - self._joined_at > _STABLE_SECONDS:
            self._useful_at, self._pause = time.monotonic(), 1.0
        if time.monotonic() - self._reported_at > _REPORT_SECONDS:
            self._report(WorkerState.RUNNING)

    def _show(self, trials: Sequence[Path]) -> None:
        """Log the trials that have started here or left since the last call."""
        before, self._shown = self._shown, {trial.name: trial for trial in trials}
        for name in self._shown.keys() - before.keys():
            _log.info("trial %s trains here", name[:_DIGITS])
        for name in before.keys() - self._shown.keys():
            state = "unknown"
            with contextlib.suppress(CareError):
                status = TrialFolder(before[name]).read_status()
                state = status.state if status else state
            _log.info("trial %s left: %s", name[:_DIGITS], state)

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
            joined=self._joined,
            slots=self._head.slots(self._given.cpus, self._given.gpus) if self._head else 0,
        )
        self._folder.write_worker(self._name, status)
