"""Tune's callback, which reports to the driver, and its stopper, which ends it early."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from care.trials.records import ErrorRecord
from sweeps.progress import Board
from sweeps.tune.messages import Outcome, PackResult, PackTask, TrialResult, trim_result
from sweeps.tune.queue import TaskQueue

_log = logging.getLogger(__name__)

_GRACE_SECONDS = 60.0
_NO_REASON = "Ray gives no reason"


class _NotSaved:
    """Pickled as nothing: Tune saves its parts for its own restore, which is never used."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class DriverCallback(_NotSaved, tune.Callback):  # type: ignore[misc]
    """Passes Tune's results on to the board, the driver and the user.

    Args:
        board: Takes each trial's progress.
        queue: The tasks of the launch.
        changed: Called with the identity of each trial that changed.
        metrics: The metrics that compare the trials.

    Attributes:
        active: Trials that a process has now.
        lost: Why unfinished trials get no other try, by identity.
    """

    def __init__(
        self,
        board: Board,
        queue: TaskQueue,
        changed: Callable[[str], None],
        metrics: Sequence[str],
    ) -> None:
        self._board, self._queue = board, queue
        self._kept = ("epoch", *metrics)
        self._changed = changed
        self._disk_errors: set[str] = set()
        self.lost: dict[str, ErrorRecord] = {}
        self.active: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note that trials got their process."""
        task = PackTask.from_config(trial.config)
        self.active.update(task.trial_ids)
        self._board.meter.begin(trial.trial_id, task.share)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Report the progress of each trial, and leave little of it with Tune.

        Tune keeps each trial's last result, and writes them all when the experiment ends, though
        the driver may have little time then.
        """
        progress = PackResult.from_result(result)
        self._board.spend(progress.seconds)
        for of_trial in progress.trials:
            self._report(of_trial)
        trim_result(result, self._kept)

    def _report(self, progress: TrialResult) -> None:
        identity = progress.trial_id
        if progress.done:
            self.active.discard(identity)
        if state := progress.outcome.state:
            self._board.report(identity, state, progress.metrics, progress.error)
        label = self._board.trials[identity].label
        for text in progress.warnings:
            _log.warning("%s: %s", label, text)
        if progress.outcome == Outcome.DISK_ERROR:
            self._warn_once(str(progress.error))
        if progress.outcome == Outcome.OUT_OF_MEMORY:
            _log.warning("%s: the memory is full; it is trained alone.", label)
        self._changed(identity)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Close a pack's trials; one that still counts as running was stopped by the scheduler."""
        self._board.meter.end(trial.trial_id)
        for identity in PackTask.from_config(trial.config).trial_ids:
            self.active.discard(identity)
            self._board.complete(identity)
            if identity in self._queue.given_up:
                error = self._board.trials[identity].error
                self.lost[identity] = (
                    ErrorRecord(kind="disk", message=error)
                    if error
                    else ErrorRecord(kind="lost", message=_NO_REASON)
                )
        _forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Report a lost process; the queue has decided about another try of its trials."""
        self._board.meter.end(trial.trial_id)
        for identity in PackTask.from_config(trial.config).trial_ids:
            self.active.discard(identity)
            lost = self._board.lose(identity)
            if identity in self._queue.given_up:
                self.lost[identity] = _reason(trial)
            elif lost:
                label = self._board.trials[identity].label
                _log.warning(
                    "%s: its process was lost; it resumes from its last checkpoint.", label
                )
            self._changed(identity)
        _forget(trial)

    def _warn_once(self, text: str) -> None:
        if text not in self._disk_errors:
            self._disk_errors.add(text)
            _log.warning("%s It is tried again every few seconds.", text)


def _forget(trial: Any) -> None:
    """Empty what Tune keeps of a trial that is over until the experiment ends.

    Of a hundred thousand trials that is a gigabyte, and minutes of its last checkpoint.
    """
    trial.config.clear()
    trial.evaluated_params.clear()
    trial.run_metadata.metric_analysis.clear()
    trial.run_metadata.metric_n_steps.clear()


def _reason(trial: Any) -> ErrorRecord:
    """Return Tune's record of a trial's lost process.

    ``trial.get_error()`` reads a copy that Tune makes later.
    """
    try:
        text = Path(trial.error_file).read_text(errors="replace").strip()
    except (OSError, TypeError):  # Tune has no file, or could not write it
        text = ""
    text = text or _NO_REASON
    return ErrorRecord(kind="lost", message=text.splitlines()[-1], traceback=text)


class PausedStopper(_NotSaved, tune.Stopper):  # type: ignore[misc]
    """Ends the experiment after an interrupt or a limit, once the running trials have paused.

    Args:
        stopping: Returns whether the launch is to end.
        callback: Knows the running trials.
        look: Called again and again in Tune's thread.
    """

    def __init__(
        self,
        stopping: Callable[[], bool],
        callback: DriverCallback,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self._is_stopping, self._look = stopping, look
        self._callback = callback
        self._asked_at: float | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single trial."""
        return False

    def stop_all(self) -> bool:
        """Return whether the experiment is over."""
        self._look()
        if not self._is_stopping():
            return False
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        return not self._callback.active or time.monotonic() - self._asked_at > _GRACE_SECONDS
