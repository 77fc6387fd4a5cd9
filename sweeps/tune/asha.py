"""Early stopping whose state is rebuilt from the store.

Ray Tune does not save a scheduler's state: after a crash ASHA's rungs are empty and every trial
competes with nobody. Here each rung entry is logged, with the decision, before it takes effect, and
a new launch replays those entries whose trial still lies in the store. Finished trials that were
never judged, because another sweep trained them, enter the rungs from the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from sweeps.event_log import RungEntry
from sweeps.spec.schema import MetricConfig, SchedulerConfig
from sweeps.store import finite
from sweeps.tune.messages import identities, results_of


@dataclass(frozen=True)
class _Key:
    """Stands for a trial under its identity in the store; Tune's own ids change every launch."""

    trial_id: str


class ReplayableASHA(ASHAScheduler):  # type: ignore[misc]
    """Ray Tune's ASHA on epochs, with trials known by identity and decisions logged.

    Args:
        log: Called with each new rung entry before Tune learns of the decision.
        **settings: As for Ray Tune's ``ASHAScheduler``.
    """

    def __init__(self, log: Callable[[RungEntry], None], **settings: Any) -> None:
        super().__init__(time_attr="epoch", brackets=1, **settings)
        self._log = log
        self._ended: set[str] = set()
        self._stopped_at: dict[str, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles a scheduler for its own restore, which is never used."""
        return {}

    def rungs(self) -> list[tuple[float, dict[str, float]]]:
        """(epochs, value by trial identity) of each rung, the last rung first; more is better."""
        return [(milestone, dict(values)) for milestone, values in self._brackets[0]._rungs]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Enter a trial, or those of a pack; one that was paused before resumes."""
        for key in _keys(trial):
            self._ended.discard(key.trial_id)
            super().on_trial_add(tune_controller, key)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Judge an epoch; a new rung entry is logged first.

        A pack goes on while one of its members does: the log tells it which do not.
        """
        for identity, told in results_of(trial.config, result):
            ended = bool(told.get("done"))
            if ended:
                self._complete(_Key(identity), told)
            elif self._judge(_Key(identity), told) == TrialScheduler.STOP:
                ended = True
            if ended:
                self._ended.add(identity)
        over = self._ended.issuperset(identities(trial.config))
        return str(TrialScheduler.STOP if over else TrialScheduler.CONTINUE)

    def _judge(self, key: _Key, result: dict[str, Any]) -> str:
        value = finite(result.get(self._metric))
        if value is None:
            return str(TrialScheduler.CONTINUE)
        # A decision that a crash kept from its trial takes effect now.
        stopped_at = self._stopped_at.get(key.trial_id)
        if stopped_at is not None and result[self._time_attr] >= stopped_at:
            return str(TrialScheduler.STOP)
        before = self._entries()
        action: str = super().on_trial_result(None, key, result)
        if self._entries() > before:
            self._note(key, result, stopped=action == TrialScheduler.STOP)
        return action

    def _note(self, key: _Key, result: dict[str, Any], *, stopped: bool) -> None:
        epoch, value = result[self._time_attr], result[self._metric]
        self._log(RungEntry(key.trial_id, epoch, value, stopped, result.get("created", "")))
        if stopped:
            self._stopped_at[key.trial_id] = epoch

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take the last values of trials that finished."""
        for identity, told in results_of(trial.config, result):
            self._complete(_Key(identity), told)

    def _complete(self, key: _Key, result: dict[str, Any]) -> None:
        if finite(result.get(self._metric)) is not None:
            super().on_trial_complete(None, key, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Forget a trial that ended without a result; its rung entries stay."""
        for key in _keys(trial):
            self._trial_info.pop(key.trial_id, None)

    def replay(self, entries: Iterable[RungEntry]) -> None:
        """Rebuild the rungs from the log of earlier launches."""
        for entry in entries:
            self._enter(_Key(entry.trial_id), entry.epoch, entry.value)
            if entry.stopped:
                self._stopped_at[entry.trial_id] = entry.epoch

    def learn(self, trial_id: str, created: str, epochs: Iterable[dict[str, Any]]) -> None:
        """Enter a finished trial's values into the rungs that do not have them.

        Args:
            trial_id: The trial.
            created: When its folder was made.
            epochs: Its lines of ``metrics.jsonl``.
        """
        key = _Key(trial_id)
        for line in epochs:
            value = finite(line.get(self._metric))
            if value is not None and self._enter(key, line[self._time_attr], value):
                self._note(key, {**line, "created": created}, stopped=False)

    def _enter(self, key: _Key, epoch: int, value: float) -> bool:
        """Enter a value without a decision; return whether its rung did not have it."""
        before = self._entries()
        self.on_trial_add(None, key)
        super().on_trial_result(None, key, {self._time_attr: epoch, self._metric: value})
        self.on_trial_remove(None, key)
        return self._entries() > before

    def _entries(self) -> int:
        return sum(len(values) for _, values in self._brackets[0]._rungs)


def _keys(trial: Any) -> list[_Key]:
    return [trial] if isinstance(trial, _Key) else [*map(_Key, identities(trial.config))]


def build_scheduler(
    config: SchedulerConfig,
    metric: MetricConfig,
    epochs: int,
    log: Callable[[RungEntry], None],
) -> ReplayableASHA | None:
    """The sweep's scheduler with empty rungs, or None.

    Args:
        config: Which one.
        metric: What it compares.
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
