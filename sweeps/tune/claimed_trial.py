"""One trial in the process that trains it, alone or with others of its pack."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from care.data.shared_batches import SharedBatches
from care.errors import CareError
from care.system.claim import Claim, LostClaimError
from care.system.files import DamagedFileError
from care.training.trial_run import TrialRun
from care.trials import process_log
from care.trials.checkpoint import keep_only_weights
from care.trials.folder import TrialFolder
from care.trials.records import Values
from care.trials.state import State
from sweeps.event_log import RungEntry, created, epochs_to_replay
from sweeps.tune.messages import Outcome, TrialResult, TrialTask
from sweeps.tune.node import Node


class ClaimedTrial:
    """A trial that this process has claimed, or tries to.

    Args:
        task: The trial.
        node: The node of this process.

    Attributes:
        task: The trial.
        run: Its training, while it is open.
        replayed: Epochs to report again, the first one next.
    """

    def __init__(self, task: TrialTask, node: Node) -> None:
        self.run: TrialRun | None = None
        self.replayed: list[Values] = []
        self.task, self._node = task, node
        self._folder = TrialFolder(task.folder)
        self._warnings: list[str] = []
        self._claim: Claim | None = None
        self._created = ""

    def open(self, shared: SharedBatches | None = None) -> TrialRun | None:
        """Claim and open the trial.

        Args:
            shared: Shared with the other members of a pack.

        Returns:
            Its training, or None when another process holds the claim.
        """
        self._claim = Claim.take(self._folder.path)
        if self._claim is None:
            return None
        self._node.enter(self._folder.path)
        self._folder = TrialFolder(self._folder.path, self._claim)
        process_log.start(self._folder)
        with process_log.owned_by(self._folder):
            run = TrialRun(self.task.config, self._folder, self._warn, shared)
        if self.task.replay:
            self.replayed = epochs_to_replay(self._folder, self.task.config.training.epochs)
        self.run = run
        self._created = created(self._folder)
        return run

    def _warn(self, text: str) -> None:
        self._warnings.append(text)
        self._folder.log(f"warning: {text}")

    @property
    def superseded(self) -> bool:
        """Whether another process has taken the trial over from this one."""
        try:
            self._folder.writer.check()
        except LostClaimError:
            return True
        return False

    def final_metrics(self) -> Values:
        """Read the last epoch of a finished trial, with its measures."""
        return {**self._folder.read_metrics()[-1], **(self._folder.read_evaluation() or {})}

    def is_stopped(self, stopped: Mapping[str, RungEntry]) -> bool:
        """Return whether the scheduler ended the trial that lies in the folder now."""
        entry = stopped.get(self.task.trial_id)
        return entry is not None and entry.created == self._created

    def prune_checkpoints(self) -> None:
        """Leave only the weights of a finished trial, if its sweep asks for that.

        An error loses nothing: the checkpoints stay for ``care store gc``.
        """
        if not self.task.only_weights:
            return
        epochs = self.task.config.training.epochs
        warn, writer = self._warnings.append, self._folder.writer
        try:
            keep_only_weights(self._folder.path, epochs, self.task.trial_id, warn, writer)
        except CareError as error:
            warn(f"its checkpoints stay: {error}")

    def close(self) -> None:
        """Release the trial, paused if it was running."""
        if self._claim is None:
            return
        try:
            self._pause()
        finally:
            process_log.end(self._folder)
            self._claim.release()
            self._node.leave(self._folder.path)
            self.run = self._claim = None

    def _pause(self) -> None:
        # A damaged status is named by the next plan.
        with contextlib.suppress(LostClaimError, DamagedFileError):
            status = self._folder.read_status()
            if self.run is not None and status and status.state == State.RUNNING:
                self.run.pause()

    def put_back(self) -> None:
        """Release a trial that ran out of memory and mark it paused, so that it is resumed."""
        status = self._folder.read_status()
        epoch = status.epoch if status else 0
        with contextlib.suppress(LostClaimError):
            self._folder.write_status(State.PAUSED, epoch, self.task.config.training.epochs)
        self.close()

    def result(
        self,
        outcome: Outcome,
        metrics: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> TrialResult:
        """Make a result about the trial, with the warnings since the last one."""
        warnings, self._warnings = tuple(self._warnings), []
        return TrialResult(
            self.task.trial_id, outcome, self._created, metrics or {}, warnings, error
        )
