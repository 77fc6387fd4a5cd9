"""What a running sweep knows about itself, for the live table and the log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analysis.best_point import BestPoint, find_best_point
from analysis.labels import point_name
from care.config import TrialConfig
from care.config.metrics import COLLAPSE_METRIC, epoch_metrics, is_collapsed
from care.trials.state import State
from sweeps.plan import Plan, PlannedTrial
from sweeps.spec.schema import MetricConfig
from sweeps.states import MEANING
from sweeps.store import finite

Activity = Literal["", "starting Ray", "starting trials", "pausing trials"]

_LEFT = [state for state, meaning in MEANING.items() if meaning.left]
_LEFT_HERE = [state for state in _LEFT if state != State.ELSEWHERE]
_OUTCOMES = {
    "busy": State.ELSEWHERE,
    "disk": State.PAUSED,
    "crowded": State.PAUSED,
    "unpacked": State.PAUSED,
}
"""What an actor reports of a trial that it does not train, beside the words of :class:`State`."""


@dataclass
class TrialProgress:
    """One trial as the driver last heard of it.

    Attributes:
        key: The point by value: labels of two points may read alike.
        value: The sweep's metric.
        latest: The board's metric for trials that train, after the last epoch.
        uniformity: Of held-out embeddings after the last epoch: 1 is collapse.
    """

    point: str
    seed: int
    epochs: int
    epoch: int = 0
    state: State = State.NEW
    error: str | None = None
    value: float | None = None
    latest: float | None = None
    uniformity: float | None = None
    key: str = ""
    images_per_second: float | None = None

    @property
    def label(self) -> str:
        """For people: ``λ=0.1 seed=2``."""
        return f"{self.point} seed={self.seed}".strip()


class Board:
    """The state of every trial of a launch.

    What the driver asks with every result (:meth:`left`) is kept, not counted anew: with ten
    thousand trials the counting would take longer than all else that a result costs.

    Attributes:
        trials: By identity.
        configs: By identity.
        target: Trials that the sweep wants in all.
        spent: Seconds that the trials' processes spent, all together, by what it was for.
        first_step_at: When the first of them began, by the monotonic clock.
        column: Metric that is shown of trials that train: the sweep's own, or one that every
            epoch has where that comes at the end only.
        activity: What the driver does while no trial trains; empty otherwise.

    Args:
        metric: What the sweep is judged by.
        target: Trials that the sweep wants in all.
        uniformity: Returns a finished trial's uniformity after its last epoch.
    """

    def __init__(
        self,
        metric: MetricConfig,
        target: int,
        uniformity: Callable[[str], float | None] = lambda _: None,
    ) -> None:
        self.metric = metric
        self.target = target
        self.column = epoch_metric(metric.name)
        self.activity: Activity = ""
        self.trials: dict[str, TrialProgress] = {}
        self.configs: dict[str, TrialConfig] = {}
        self._started = time.monotonic()
        self._uniformity = uniformity
        self._epochs_run = 0
        self.spent: Counter[str] = Counter()
        self.first_step_at: float | None = None
        self._states: Counter[State] = Counter()
        self._epochs_left = 0
        self._most_epochs = 0

    def plan(self, plan: Plan, value: Callable[[str], float | None]) -> None:
        """Enter every trial of a plan; ``value`` gives the metric of a finished one."""
        for trial in plan.unique().values():
            self._add(trial, value)

    def suggest(self, trials: Sequence[PlannedTrial], value: Callable[[str], float | None]) -> None:
        """Enter the trials of a point that Optuna suggested; known ones are not wanted twice."""
        for trial in trials:
            if trial.trial_id in self.trials:
                self.target -= 1
            else:
                self._add(trial, value)

    def _add(self, trial: PlannedTrial, value: Callable[[str], float | None]) -> None:
        entry = self.enter(trial.trial_id, trial.config, trial.point)
        self._move(entry, trial.state, trial.epoch)
        if trial.state == State.FINISHED:
            entry.value = value(trial.trial_id)
            entry.uniformity = self._uniformity(trial.trial_id)

    def enter(self, trial_id: str, config: TrialConfig, point: dict[str, Any]) -> TrialProgress:
        """Enter a trial, or find it."""
        if trial_id not in self.trials:
            fresh = TrialProgress(
                point_name(point, point.values()),
                config.seed,
                config.training.epochs,
                key=repr(point),
            )
            self._count(fresh, 1)
            self._most_epochs = max(self._most_epochs, fresh.epochs)
            self.trials[trial_id] = fresh
            self.configs[trial_id] = config
        return self.trials[trial_id]

    def spend(self, seconds: Mapping[str, float]) -> None:
        """Seconds that a trial's process spent on something."""
        if self.first_step_at is None and seconds:
            self.first_step_at = time.monotonic() - sum(seconds.values())
        self.spent.update(seconds)

    def complete(self, trial_id: str) -> None:
        """A trial is over for Tune; one that still said ``running`` was stopped early."""
        trial = self.trials[trial_id]
        if trial.state == State.RUNNING:
            self._move(trial, State.STOPPED, trial.epoch)

    def lose(self, trial_id: str) -> None:
        """A trial's process was lost, if it was still at it."""
        trial = self.trials[trial_id]
        if not MEANING[trial.state].over:
            self._move(trial, State.PAUSED, trial.epoch)

    def report(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take a result of the trainable."""
        trial = self.trials[trial_id]
        trial.error = result.get("error")
        trial.images_per_second = result.get("images_per_second", trial.images_per_second)
        epoch = result.get("epoch", trial.epoch)
        self._epochs_run += max(0, epoch - trial.epoch)
        outcome = result["outcome"]
        self._move(trial, _OUTCOMES.get(outcome) or State(outcome), epoch)
        trial.value = result.get(self.metric.name, trial.value)
        trial.latest = result.get(self.column, trial.latest)
        trial.uniformity = result.get(COLLAPSE_METRIC, trial.uniformity)
        if self.activity != "pausing trials":
            self.activity = ""

    def _move(self, trial: TrialProgress, state: State, epoch: int) -> None:
        self._count(trial, -1)
        trial.state, trial.epoch = state, epoch
        self._count(trial, 1)

    def _count(self, trial: TrialProgress, number: int) -> None:
        self._states[trial.state] += number
        if trial.state in _LEFT_HERE:
            self._epochs_left += number * (trial.epochs - trial.epoch)

    def counts(self) -> dict[State, int]:
        """Count the trials by state; trials that Optuna has still to suggest are new."""
        counts = self._states.copy()
        counts[State.NEW] += self._unknown
        return {state: number for state, number in counts.items() if number}

    def left(self) -> int:
        """Trials that are still to run or running."""
        return sum(self._states[state] for state in _LEFT) + self._unknown

    @property
    def _unknown(self) -> int:
        """Trials that Optuna has still to suggest."""
        return max(0, self.target - len(self.trials))

    def running(self) -> list[TrialProgress]:
        """The trials that train now."""
        return [trial for trial in self._entries() if trial.state == State.RUNNING]

    def elapsed(self) -> float:
        """Seconds since this launch began."""
        return time.monotonic() - self._started

    def epochs_per_second(self) -> float:
        """Epochs that this launch trained, all trials together, per second."""
        return self._epochs_run / max(1e-9, self.elapsed())

    def seconds_left(self) -> float | None:
        """An estimate from the throughput so far; None before the first epoch."""
        if not any(self._states[state] for state in _LEFT_HERE) and not self._unknown:
            return 0.0
        epochs = self._epochs_left + self._unknown * self._most_epochs
        rate = self.epochs_per_second()
        return epochs / rate if rate else None

    def best_point(self) -> BestPoint[tuple[str, str]]:
        """Return the best point, as (key, label), by the mean over seeds that all of them share.

        Points with a trial that ended next to collapse are left out.
        """
        values: dict[tuple[str, str], dict[int, float]] = {}
        collapsed: set[tuple[str, str]] = set()
        for trial in self._entries():
            point = (trial.key, trial.point)
            if trial.state == State.FINISHED and (value := finite(trial.value)) is not None:
                values.setdefault(point, {})[trial.seed] = value
                if is_collapsed(trial.uniformity):
                    collapsed.add(point)
        return find_best_point(values, self.metric.mode, collapsed)

    def best(self) -> tuple[str, float, int] | None:
        """(point, mean, n) of :meth:`best_point`, or None without a winner."""
        found = self.best_point()
        if found.point is None or found.mean is None:
            return None
        return found.point[1], found.mean, len(found.seeds)

    def without_value(self) -> int:
        """Finished trials that have no value of the sweep's metric to be compared by."""
        done = [trial for trial in self._entries() if trial.state == State.FINISHED]
        return sum(finite(trial.value) is None for trial in done)

    def _entries(self) -> list[TrialProgress]:
        """At this moment: who shows the board is another thread than who changes it."""
        return list(self.trials.values())


def epoch_metric(metric: str) -> str:
    """Return a metric that every epoch has: ``metric``, its held-out part, or the loss."""
    held_out = f"heldout/{metric.rpartition('/')[2]}"
    return next((name for name in (metric, held_out) if name in epoch_metrics()), "train/loss")
