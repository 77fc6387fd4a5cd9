"""Early stopping whose state is rebuilt from the store.

Ray Tune does not save a scheduler's state: after a crash its record is empty, and the next trial
competes with no other. Here each value that is judged is logged, with the decision, before it takes
effect. A new launch replays the entries whose trial still lies in the store. Finished trials that
were never judged, because another sweep trained them, enter the record from the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeps.event_log import RungEntry
from sweeps.spec.search import MetricConfig, SchedulerConfig
from sweeps.store import finite
from sweeps.tune.messages import PackResult, PackTask, TrialResult
from sweeps.tune.stopping_rules import HalvingRule, MedianRule, StoppingRule

_EPOCH = "epoch"


class FirstComeScheduler(FIFOScheduler):  # type: ignore[misc]
    """Starts trials in their order, like Ray Tune's own, without a look at those that are over.

    Ray Tune's own looks at every trial in each round of its event loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self._live: list[Any] = []

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing: Tune saves a scheduler for its own restore, which is never used."""
        return {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Note the order of the trials."""
        self._live.append(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the first trial that waits, one that never started before one that paused."""
        self._live = [trial for trial in self._live if not trial.is_finished()]
        for status in (Trial.PENDING, Trial.PAUSED):
            for trial in self._live:
                if trial.status == status:
                    return trial
        return None


class ReplayableScheduler(FirstComeScheduler):
    """Ends trials early by a rule, with trials known by identity and decisions logged.

    Args:
        rule: Decides; values are negated for mode ``min``, so that more is better.
        metric: The metric that it compares.
        log: Called with each new entry before its decision takes effect.
    """

    def __init__(
        self, rule: StoppingRule, metric: MetricConfig, log: Callable[[RungEntry], None]
    ) -> None:
        super().__init__()
        self._rule = rule
        self._name, self._sign = metric.name, 1 if metric.mode == "max" else -1
        self._log = log
        self._ended: set[str] = set()
        self._stopped_at: dict[str, int] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Enter the trials of a task; a trial that was paused before resumes."""
        super().on_trial_add(tune_controller, trial)
        self._ended.difference_update(_trial_ids(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Judge an epoch of each trial, and log each new entry first.

        A pack continues while one of its members does. Its process reads from the log which
        members stopped.
        """
        for progress in PackResult.from_result(result).trials:
            if progress.done:
                self._complete(progress)
            if progress.done or self._judge(progress):
                self._ended.add(progress.trial_id)
        over = self._ended.issuperset(_trial_ids(trial))
        return str(TrialScheduler.STOP if over else TrialScheduler.CONTINUE)

    def _judge(self, progress: TrialResult) -> bool:
        """Return whether a trial stops at this epoch."""
        trial_id, metrics = progress.trial_id, progress.metrics
        epoch, value = metrics.get(_EPOCH, 0), finite(metrics.get(self._name))
        # A decision that a crash kept from its trial takes effect now.
        if epoch >= self._stopped_at.get(trial_id, math.inf):
            return True
        if value is None:  # evaluation.monitor was not due
            return False
        stopped = self._rule.judge(trial_id, epoch, self._sign * value)
        if stopped is not None:
            self._record(RungEntry(trial_id, epoch, value, stopped, progress.created))
        return bool(stopped)

    def _record(self, entry: RungEntry) -> None:
        self._log(entry)
        if entry.stopped:
            self._stopped_at[entry.trial_id] = entry.epoch

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take the last values of trials that finished."""
        for progress in PackResult.from_result(result).trials:
            self._complete(progress)

    def _complete(self, progress: TrialResult) -> None:
        value = finite(progress.metrics.get(self._name))
        if value is not None:
            epoch = progress.metrics.get(_EPOCH, 0)
            self._rule.enter(progress.trial_id, epoch, self._sign * value)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """No-op: the entries of trials that ended without a result stay."""

    def rungs(self) -> list[tuple[float, dict[str, float]]]:
        """List (epochs, value by trial identity) of what was judged, last first.

        Values are negated for mode ``min``, so that more is better.
        """
        return self._rule.rungs()

    def replay(self, entries: Iterable[RungEntry]) -> None:
        """Rebuild the record from the log of earlier launches."""
        for entry in entries:
            self._rule.enter(entry.trial_id, entry.epoch, self._sign * entry.value)
            if entry.stopped:
                self._stopped_at[entry.trial_id] = entry.epoch

    def learn(self, trial_id: str, created: str, epochs: Iterable[dict[str, Any]]) -> None:
        """Enter a finished trial's values that the record does not have.

        Args:
            trial_id: The trial.
            created: When its folder was created.
            epochs: Its lines of ``metrics.jsonl``.
        """
        for line in epochs:
            value, epoch = finite(line.get(self._name)), line[_EPOCH]
            if value is not None and self._rule.enter(trial_id, epoch, self._sign * value):
                self._record(RungEntry(trial_id, epoch, value, False, created))


def _trial_ids(trial: Any) -> list[str]:
    """List the trials in one of Tune's."""
    return PackTask.from_config(trial.config).trial_ids


def build_scheduler(
    config: SchedulerConfig,
    metric: MetricConfig,
    epochs: int,
    log: Callable[[RungEntry], None],
) -> ReplayableScheduler | None:
    """Build the sweep's scheduler with an empty record, or None if none judges its epochs.

    Args:
        config: Its name and settings.
        metric: The metric that it compares.
        epochs: Of a whole trial.
        log: Called with each new entry before it takes effect.
    """
    if not config.by_epoch:
        return None
    grace = min(config.grace_epochs, epochs)
    rule: StoppingRule
    if config.name == "median":
        rule = MedianRule(grace, config.every, config.least_trials)
    else:
        factor = config.reduction_factor
        brackets = HalvingRule.most_brackets(grace, epochs, factor)
        rule = HalvingRule(grace, epochs, factor, brackets if config.name == "hyperband" else 1)
    return ReplayableScheduler(rule, metric, log)
