"""The work of a process whose trial is trained with the code of another revision.

It imports no torch: a child process trains, with the code of the trial's snapshot. The child claims
the trial's folder, writes it and pauses when this process ends, however that happens.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from care.errors import CareError
from care.system.claim import Claim
from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder
from care.trials.identity import identities
from care.trials.records import ErrorRecord, Values
from care.trials.state import State
from sweeps.event_log import created, epochs_to_replay
from sweeps.holds import HoldWatch
from sweeps.process.wall_time import Stopwatch
from sweeps.revisions.process import Answer, SnapshotProcess, describe_config
from sweeps.tune.messages import Outcome, PackResult, PackTask, TrialResult
from sweeps.tune.node import Node
from sweeps.tune.pause_flag import PAUSING_SECONDS, REPORT_SECONDS, PauseFlag

_OUTCOMES = {
    "opened": Outcome.RUNNING,
    "running": Outcome.RUNNING,
    "finished": Outcome.FINISHED,
    "paused": Outcome.PAUSED,
    "busy": Outcome.BUSY,
}
_ENDS_THE_PROCESS = ("out_of_memory", "lost")


@dataclass(frozen=True)
class SnapshotError(Exception):
    """The child process was lost, or ran out of memory; the trial may be tried again."""

    reason: str

    def __str__(self) -> str:
        return self.reason


class SnapshotActor:
    """Trains the one trial of a task with the code of a snapshot.

    Args:
        task: The task.
    """

    def __init__(self, task: PackTask) -> None:
        (self._trial,) = task.trials
        self._node = Node.of_this_process()
        self._stop = PauseFlag(self._node)
        self._holds = HoldWatch(self._trial.holds)
        self._holds.look()
        self._folder = TrialFolder(self._trial.folder)
        self._child: SnapshotProcess | None = None
        self._replayed: list[Values] = []
        self._warnings: list[str] = []
        self._created = ""

    def close(self) -> None:
        """Release the trial, paused if it was running."""
        if self._child:
            child, self._child = self._child, None
            try:
                child.close()
            finally:
                self._node.leave(self._folder.path)

    def step(self) -> PackResult:
        """Train for an epoch, or for a second of short ones.

        Raises:
            SnapshotError: The child was lost; this process has to end.
        """
        watch = Stopwatch()
        evaluated = 0.0
        if self._child is None:
            result = self._open()
            watch.lap("start of trials")
        elif self._replayed:
            result = self._result(Outcome.RUNNING, self._replayed.pop(0))
        else:
            result, evaluated = self._train()
        watch.lap("training")
        watch.move("evaluation", evaluated, out_of="training")
        if result.done:
            self.close()
        return PackResult((result,), result.done, watch.seconds)

    def _open(self) -> TrialResult:
        """Start the child, which opens the trial."""
        if self._is_held():
            return self._result(Outcome.PAUSED)
        if self._stop():
            # A node that pauses gets one trial after another until its Ray has ended.
            time.sleep(PAUSING_SECONDS)
            return self._result(Outcome.PAUSED)
        try:
            if not self._create():
                return self._result(Outcome.BUSY)
        except CareError as error:
            return self._result(Outcome.FAILED, error=f"user_error: {error}")
        assert self._trial.snapshot
        if not self._trial.snapshot.is_dir():
            gone = f"the copy of its code is gone; run the sweep again ({self._trial.snapshot})"
            return self._report(Answer(outcome="refused", error=gone))
        ids = identities(self._trial.config)
        task = {
            "kind": "train",
            "version": self._trial.snapshot.name,
            "trial_id": ids.trial,
            "group_id": ids.group,
            "folder": str(self._folder.path),
            **describe_config(self._trial.config),
        }
        self._child = SnapshotProcess(self._trial.snapshot, task)
        answer = self._child.answer(self._should_pause)
        if answer.outcome == "claimed":
            # Not before: a trial of the node without a claim is one whose process is dead.
            self._node.enter(self._folder.path)
            answer = self._child.answer(self._should_pause)
        self._created = created(self._folder)
        if self._trial.replay and answer.outcome in ("opened", "finished"):
            self._replayed = epochs_to_replay(self._folder, self._trial.config.training.epochs)
        return self._report(answer)

    def _should_pause(self) -> bool:
        """Return whether the trial should pause: the node does, or a user holds it."""
        self._holds.look()
        return self._stop() or self._is_held()

    def _is_held(self) -> bool:
        return self._holds.of(self._trial.group_id, self._trial.config.seed) is not None

    def _create(self) -> bool:
        """Write the trial's configuration by today's schema; False if another process has it."""
        claim = Claim.take(self._folder.path)
        if claim is None:
            return False
        with claim:
            TrialFolder(self._folder.path, claim).create(self._trial.config)
        return True

    def _train(self) -> tuple[TrialResult, float]:
        """Train for an epoch; follow it by others that end within a second of its start."""
        assert self._child
        began, longest, evaluated = time.monotonic(), 0.0, 0.0
        while True:
            epoch_began = time.monotonic()
            if self._should_pause():  # a short epoch ends before its answer's wait would ask
                self._child.ask_pause()
            else:
                self._child.ask_epoch()
            answer = self._child.answer(self._should_pause)
            evaluated += answer.evaluation_seconds
            longest = max(longest, time.monotonic() - epoch_began)
            over = answer.outcome != "running" or self._trial.replay
            if over or time.monotonic() - began + longest >= REPORT_SECONDS:
                return self._report(answer), evaluated
            self._warnings += answer.warnings

    def _report(self, answer: Answer) -> TrialResult:
        self._warnings += answer.warnings
        if answer.outcome == "lost" or answer.kind in _ENDS_THE_PROCESS:
            raise SnapshotError(answer.error)
        if answer.outcome == "refused":
            self._mark_refused(answer.error)
            return self._result(Outcome.FAILED, error=f"user_error: {answer.error}")
        if answer.outcome == "failed":
            outcome = Outcome.DISK_ERROR if answer.kind == "disk" else Outcome.FAILED
            return self._result(outcome, error=f"{answer.kind}: {answer.error}")
        if answer.outcome != "finished":
            return self._result(_OUTCOMES[answer.outcome], answer.metrics)
        self._prune_checkpoints()
        return self._result(Outcome.FINISHED, answer.metrics or self._final_metrics())

    def _final_metrics(self) -> Values:
        """Read the last epoch of a trial that was finished before, with its measures."""
        return {**self._folder.read_metrics()[-1], **(self._folder.read_evaluation() or {})}

    def _mark_refused(self, reason: str) -> None:
        """Mark the trial failed where the child could not open it."""
        claim = Claim.take(self._folder.path)
        if claim is None:
            return
        with claim, contextlib.suppress(DamagedFileError):
            folder = TrialFolder(self._folder.path, claim)
            status = folder.read_status()
            epoch, epochs = status.epoch if status else 0, self._trial.config.training.epochs
            error = ErrorRecord(kind="user_error", message=reason)
            folder.write_status(State.FAILED, epoch, epochs, error)

    def _prune_checkpoints(self) -> None:
        """Leave only the weights of a finished trial, if its sweep asks for that."""
        if not self._trial.only_weights:
            return
        from care.trials.checkpoint import keep_only_weights

        assert self._child
        self._child.close()  # which releases the claim
        epochs, warn = self._trial.config.training.epochs, self._warnings.append
        claim = Claim.take(self._folder.path)
        if claim is None:
            return
        with claim:
            try:
                keep_only_weights(self._folder.path, epochs, self._trial.trial_id, warn, claim)
            except CareError as error:
                warn(f"its checkpoints stay: {error}")

    def _result(
        self, outcome: Outcome, metrics: Values | None = None, error: str | None = None
    ) -> TrialResult:
        warnings, self._warnings = tuple(self._warnings), []
        return TrialResult(
            self._trial.trial_id, outcome, self._created, metrics or {}, warnings, error
        )
