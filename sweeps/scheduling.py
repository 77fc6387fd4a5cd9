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

    def rungs(self) -> list[tuple[float, dict[str, float]]]:
        """(epochs, value by trial identity) of each rung, the last rung first; more is better."""
        return [(milestone, dict(values)) for milestone, values in self._brackets[0]._rungs]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Enter a trial."""
        super().on_trial_add(tune_controller, _key(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Judge an epoch; a new rung entry is logged first."""
        before = self._entries()
        action: str = super().on_trial_result(tune_controller, _key(trial), result)
        if self._entries() > before:
            self._log(
                {
                    "event": "rung",
                    "trial_id": _key(trial).trial_id,
                    "epoch": result[self._time_attr],
                    "value": result[self._metric],
                    "stopped": action == TrialScheduler.STOP,
                }
            )
        return action

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take a finished trial's last value."""
        super().on_trial_complete(tune_controller, _key(trial), result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Forget a trial that ended without a result; its rung entries stay."""
        self._trial_info.pop(_key(trial).trial_id, None)

    def replay(self, events: list[dict[str, Any]]) -> None:
        """Rebuild the rungs from the log of earlier launches."""
        log, self._log = self._log, lambda _: None
        for event in events:
            if event["event"] == "rung":
                key = _Key(event["trial_id"])
                self.on_trial_add(None, key)
                result = {self._time_attr: event["epoch"], self._metric: event["value"]}
                self.on_trial_result(None, key, result)
        self._log = log

    def _entries(self) -> int:
        return sum(len(values) for _, values in self._brackets[0]._rungs)


def _key(trial: Any) -> _Key:
    return trial if isinstance(trial, _Key) else _Key(trial.config["trial_id"])


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
