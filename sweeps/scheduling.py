"""Early stopping whose state is rebuilt from the store.

Ray Tune does not save a scheduler's state: after a crash ASHA's rungs are empty and every trial
competes with nobody. Here each rung entry is logged, with the decision, before it takes effect, and
a new launch replays the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from sweeps.launch.packs import identities, results_of
from sweeps.spec import MetricConfig, SchedulerConfig
from sweeps.store import SweepFolder


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

    def __init__(self, log: Callable[[dict[str, Any]], None], **settings: Any) -> None:
        super().__init__(time_attr="epoch", brackets=1, **settings)
        self._log = log
        self._ended: set[str] = set()

    def rungs(self) -> list[tuple[float, dict[str, float]]]:
        """(epochs, value by trial identity) of each rung, the last rung first; more is better."""
        return [(milestone, dict(values)) for milestone, values in self._brackets[0]._rungs]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Enter a trial, or those of a pack."""
        for key in _keys(trial):
            super().on_trial_add(tune_controller, key)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Judge an epoch; a new rung entry is logged first.

        A pack goes on while one of its members does: the log tells it which do not.
        """
        for identity, told in results_of(trial.config, result):
            ended = bool(told.get("done"))
            if ended:
                super().on_trial_complete(tune_controller, _Key(identity), told)
            elif self._judge(_Key(identity), told) == TrialScheduler.STOP:
                ended = True
            if ended:
                self._ended.add(identity)
        over = self._ended.issuperset(identities(trial.config))
        return str(TrialScheduler.STOP if over else TrialScheduler.CONTINUE)

    def _judge(self, key: _Key, result: dict[str, Any]) -> str:
        before = self._entries()
        action: str = super().on_trial_result(None, key, result)
        if self._entries() > before:
            self._log(
                {
                    "event": "rung",
                    "trial_id": key.trial_id,
                    "epoch": result[self._time_attr],
                    "value": result[self._metric],
                    "stopped": action == TrialScheduler.STOP,
                }
            )
        return action

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take the last values of trials that finished."""
        for identity, told in results_of(trial.config, result):
            super().on_trial_complete(tune_controller, _Key(identity), told)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Forget a trial that ended without a result; its rung entries stay."""
        for key in _keys(trial):
            self._trial_info.pop(key.trial_id, None)

    def replay(self, events: list[dict[str, Any]]) -> None:
        """Rebuild the rungs from the log of earlier launches."""
        log, self._log = self._log, lambda _: None
        for event in events:
            if event["event"] == "rung":
                key = _Key(event["trial_id"])
                self.on_trial_add(None, key)
                result = {self._time_attr: event["epoch"], self._metric: event["value"]}
                self._judge(key, result)
        self._log = log

    def _entries(self) -> int:
        return sum(len(values) for _, values in self._brackets[0]._rungs)


def _keys(trial: Any) -> list[_Key]:
    return [trial] if isinstance(trial, _Key) else [*map(_Key, identities(trial.config))]


def build_scheduler(
    config: SchedulerConfig, metric: MetricConfig, epochs: int, folder: SweepFolder
) -> ReplayableASHA | None:
    """The sweep's scheduler in the state that its log tells, or None."""
    if config.name == "none":
        return None
    scheduler = ReplayableASHA(
        folder.log,
        metric=metric.name,
        mode=metric.mode,
        max_t=epochs,
        grace_period=min(config.grace_epochs, epochs),
        reduction_factor=config.reduction_factor,
        # A trial ends by finishing, with its evaluation, not by reaching max_t.
        stop_last_trials=False,
    )
    scheduler.replay(folder.events())
    return scheduler
