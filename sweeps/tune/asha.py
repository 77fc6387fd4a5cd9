"""Early stopping whose state is rebuilt from the store.

Ray Tune does not save a scheduler's state: after a crash ASHA's rungs are empty, and the next trial
competes with no other. Here each rung entry is logged, with the decision, before it takes effect. A
new launch replays the entries whose trial still lies in the store. Finished trials that were never
judged, because another sweep trained them, enter the rungs from the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from sweeps.event_log import RungEntry
from sweeps.spec.search import MetricConfig, SchedulerConfig
from sweeps.store import finite
from sweeps.tune.messages import PackResult, PackTask, TrialResult


@dataclass(frozen=True)
class _Key:
    """A trial under its identity in the store; Tune's own ids change every launch."""

    trial_id: str


class ReplayableASHA(ASHAScheduler):  # type: ignore[misc]
    """ASHA of Ray Tune on epochs, with trials known by identity and decisions logged.

    Args:
        log: Called with each new rung entry before its decision takes effect.
        **settings: Of Ray Tune's ``ASHAScheduler``.
    """

    def __init__(self, log: Callable[[RungEntry], None], **settings: Any) -> None:
        super().__init__(time_attr="epoch", brackets=1, **settings)
        self._log = log
        self._ended: set[str] = set()
        self._stopped_at: dict[str, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing: Tune saves a scheduler for its own restore, which is never used."""
        return {}

    def rungs(self) -> list[tuple[float, dict[str, float]]]:
        """List (epochs, value by trial identity) of each rung, last first.

        Values are negated for mode ``min``, so that more is better.
        """
        return [(milestone, dict(values)) for milestone, values in self._brackets[0]._rungs]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Enter the trials of a task; a trial that was paused before resumes."""
        for trial_id in _trial_ids(trial):
            self._ended.discard(trial_id)
            super().on_trial_add(tune_controller, _Key(trial_id))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Judge an epoch of each trial, and log each new rung entry first.

        A pack continues while one of its members does. Its process reads from the log which
        members stopped.
        """
        for progress in PackResult.from_result(result).trials:
            if progress.done:
                self._complete(progress)
            if progress.done or self._judge(progress) == TrialScheduler.STOP:
                self._ended.add(progress.trial_id)
        over = self._ended.issuperset(_trial_ids(trial))
        return str(TrialScheduler.STOP if over else TrialScheduler.CONTINUE)

    def _judge(self, progress: TrialResult) -> str:
        trial_id, metrics = progress.trial_id, progress.metrics
        epoch, value = metrics.get(self._time_attr, 0), finite(metrics.get(self._metric))
        # A decision that a crash kept from its trial takes effect now.
        if epoch >= self._stopped_at.get(trial_id, math.inf):
            return str(TrialScheduler.STOP)
        if value is None:  # evaluation.monitor was not due
            return str(TrialScheduler.CONTINUE)
        before = self._entries()
        action: str = super().on_trial_result(None, _Key(trial_id), dict(metrics))
        if self._entries() > before:
            stopped = action == TrialScheduler.STOP
            self._record(RungEntry(trial_id, epoch, value, stopped, progress.created))
        return action

    def _record(self, entry: RungEntry) -> None:
        self._log(entry)
        if entry.stopped:
            self._stopped_at[entry.trial_id] = entry.epoch

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take the last values of trials that finished."""
        for progress in PackResult.from_result(result).trials:
            self._complete(progress)

    def _complete(self, progress: TrialResult) -> None:
        if finite(progress.metrics.get(self._metric)) is not None:
            super().on_trial_complete(None, _Key(progress.trial_id), dict(progress.metrics))

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Forget trials that ended without a result; their rung entries stay."""
        for trial_id in _trial_ids(trial):
            self._trial_info.pop(trial_id, None)

    def replay(self, entries: Iterable[RungEntry]) -> None:
        """Rebuild the rungs from the log of earlier launches."""
        for entry in entries:
            self._enter(entry.trial_id, entry.epoch, entry.value)
            if entry.stopped:
                self._stopped_at[entry.trial_id] = entry.epoch

    def learn(self, trial_id: str, created: str, epochs: Iterable[dict[str, Any]]) -> None:
        """Enter a finished trial's values into the rungs that do not have them.

        Args:
            trial_id: The trial.
            created: When its folder was created.
            epochs: Its lines of ``metrics.jsonl``.
        """
        for line in epochs:
            value, epoch = finite(line.get(self._metric)), line[self._time_attr]
            if value is not None and self._enter(trial_id, epoch, value):
                self._record(RungEntry(trial_id, epoch, value, False, created))

    def _enter(self, trial_id: str, epoch: int, value: float) -> bool:
        """Enter a value without a decision; return whether its rung did not have it."""
        before, key = self._entries(), _Key(trial_id)
        super().on_trial_add(None, key)
        super().on_trial_result(None, key, {self._time_attr: epoch, self._metric: value})
        super().on_trial_remove(None, key)
        return self._entries() > before

    def _entries(self) -> int:
        return sum(len(values) for _, values in self._brackets[0]._rungs)


def _trial_ids(trial: Any) -> list[str]:
    """List the trials in one of Tune's."""
    return PackTask.from_config(trial.config).trial_ids


def build_scheduler(
    config: SchedulerConfig,
    metric: MetricConfig,
    epochs: int,
    log: Callable[[RungEntry], None],
) -> ReplayableASHA | None:
    """Build the sweep's scheduler with empty rungs, or None if it has none.

    Args:
        config: Its name and settings.
        metric: The metric that it compares.
        epochs: Of a whole trial.
        log: Called with each new rung entry before it takes effect.
    """
    if config.name == "none":
        return None
    return ReplayableASHA(
        log,
        metric=metric.name,
        mode=metric.mode,
        max_t=epochs,
        grace_period=min(config.grace_epochs, epochs),
        reduction_factor=config.reduction_factor,
        # A trial ends by finishing, with its evaluation, not by reaching max_t.
        stop_last_trials=False,
    )
