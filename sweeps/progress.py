"""The progress of a running sweep, for the live table, the log and the status file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analysis.best_point import BestPoint, find_best_point
from analysis.labels import point_name
from care.config import MonitorConfig, TrialConfig
from care.config.metrics import (
    COLLAPSE_METRIC,
    epoch_metrics,
    is_collapsed,
    monitored_metrics,
)
from care.trials.state import State
from sweeps.account import Meter
from sweeps.plan import Plan, PlannedTrial
from sweeps.spec.search import MetricConfig
from sweeps.states import MEANING, TO_TRAIN
from sweeps.store import finite

Activity = Literal["", "starting Ray", "starting trials", "pausing trials"]

_LEFT = [state for state, meaning in MEANING.items() if meaning.left]
_LEFT_HERE = [state for state in _LEFT if state != State.ELSEWHERE]
_CHEAP = MonitorConfig()


@dataclass
class TrialProgress:
    """The last known progress of one trial.

    Attributes:
        point: Label of its point.
        seed: Its seed.
        epochs: Epochs to train.
        epoch: Completed epochs.
        state: Its state.
        error: The error that ended it, if any.
        value: The sweep's metric.
        latest: The board's ``column`` metric after the last epoch.
        uniformity: Uniformity of held-out embeddings after the last epoch: 1 is collapse.
        key: Its point by value, since two points may have one label.
        images_per_second: Throughput of the last epoch.
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
        """Its label: ``λ=0.1 seed=2``."""
        return f"{self.point} seed={self.seed}".strip()


class Board:
    """The progress of every trial of a run.

    The numbers of trials by state are updated with each change. To count ten thousand trials after
    each result (:meth:`left`) would take longer than to handle the result.

    Attributes:
        trials: Progress by identity.
        configs: Configurations by identity.
        points: Points, axis to value, by identity.
        target: Number of all trials of the sweep.
        spent: Seconds by activity, summed over the trials' processes.
        first_step_at: Start of the earliest step, by the monotonic clock.
        column: The metric to show for training trials: the sweep's metric, or one that every epoch
            has if that one is known only at the end.
        activity: The driver's activity while no trial trains; empty otherwise.
        meter: Counts the sweep's hours.
        failed: Labels of the trials that have failed in this run, by identity.
        is_held: Returns whether a user holds a trial, by its identity without the seed and its
            seed.

    Args:
        metric: The sweep's metric.
        target: Number of all trials of the sweep.
        uniformity: Returns a finished trial's uniformity after its last epoch.
        monitor: The trials' measures while they train.
    """

    def __init__(
        self,
        metric: MetricConfig,
        target: int,
        uniformity: Callable[[str], float | None] = lambda _: None,
        monitor: MonitorConfig = _CHEAP,
    ) -> None:
        self.metric = metric
        self.target = target
        self.column = epoch_metric(metric.name, monitor)
        self.activity: Activity = ""
        self.meter = Meter()
        self.failed: dict[str, str] = {}
        self.trials: dict[str, TrialProgress] = {}
        self.configs: dict[str, TrialConfig] = {}
        self.points: dict[str, dict[str, Any]] = {}
        self.is_held: Callable[[str, int], bool] = lambda _group, _seed: False
        self._groups: dict[str, str] = {}
        self._started = time.monotonic()
        self._uniformity = uniformity
        self._epochs_run = 0
        self._added_seeds = False
        self.spent: Counter[str] = Counter()
        self.first_step_at: float | None = None
        self._states: Counter[State] = Counter()
        self._epochs_left = 0
        self._most_epochs = 0

    def plan(self, plan: Plan, value: Callable[[str], float | None]) -> None:
        """Enter every trial of a plan; ``value`` returns the metric of a finished one."""
        for trial in plan.unique().values():
            self._add(trial, value)

    def extend(self, plan: Plan, value: Callable[[str], float | None]) -> None:
        """Enter the trials that a plan has more than the last one: further seeds of its points."""
        for trial in plan.unique().values():
            if trial.trial_id not in self.trials:
                self._add(trial, value)
        self.target = max(self.target, plan.wanted)
        self._added_seeds = True

    def suggest(self, trials: Sequence[PlannedTrial], value: Callable[[str], float | None]) -> None:
        """Enter the trials of a point that Optuna suggested."""
        for trial in trials:
            if trial.trial_id in self.trials:  # suggested twice: one trial less in all
                self.target -= 1
            else:
                self._add(trial, value)

    def _add(self, trial: PlannedTrial, value: Callable[[str], float | None]) -> None:
        entry = self.enter(trial.trial_id, trial.config, trial.point)
        self._groups[trial.trial_id] = trial.group_id
        self._move(entry, trial.state, trial.epoch)
        if trial.state == State.FINISHED:
            entry.value = value(trial.trial_id)
            entry.uniformity = self._uniformity(trial.trial_id)

    def enter(self, trial_id: str, config: TrialConfig, point: dict[str, Any]) -> TrialProgress:
        """Enter a trial, unless it is known, and return its progress."""
        if trial_id not in self.trials:
            trial = TrialProgress(
                point_name(point, point.values()),
                config.seed,
                config.training.epochs,
                key=repr(point),
            )
            self._count(trial, 1)
            self._most_epochs = max(self._most_epochs, trial.epochs)
            self.trials[trial_id] = trial
            self.configs[trial_id] = config
            self.points[trial_id] = point
        return self.trials[trial_id]

    def spend(self, seconds: Mapping[str, float]) -> None:
        """Add the seconds of a trial's process, by activity."""
        if seconds:
            # The step that is reported first need not be the one that began first.
            began = time.monotonic() - sum(seconds.values())
            self.first_step_at = min(began, self.first_step_at or began)
        self.spent.update(seconds)

    def complete(self, trial_id: str) -> None:
        """Record that Tune ended a trial."""
        trial = self.trials[trial_id]
        if trial.state == State.RUNNING:  # it reported no end of its own: the scheduler stopped it
            self._move(trial, State.STOPPED, trial.epoch)

    def lose(self, trial_id: str) -> bool:
        """Mark a trial paused whose process was lost; return False if the trial had ended."""
        trial = self.trials[trial_id]
        if MEANING[trial.state].over:
            return False
        self._move(trial, self._if_held(trial_id, State.PAUSED), trial.epoch)
        return True

    def sort_held(self, set_aside: Collection[str]) -> list[str]:
        """Show which trials are held now, and return the identities of those that changed.

        Args:
            set_aside: Held trials that wait, also those of a driver that was killed, whose
                processes may have lived on for a moment.
        """
        changed = []
        for identity, trial in self.trials.items():
            if identity in set_aside and trial.state in _LEFT:
                self._move(trial, State.HELD, trial.epoch)
                changed.append(identity)
            if trial.state not in (*TO_TRAIN, State.HELD):
                continue
            free = State.PAUSED if trial.epoch else State.NEW
            state = self._if_held(identity, free if trial.state == State.HELD else trial.state)
            if state != trial.state:
                self._move(trial, state, trial.epoch)
                changed.append(identity)
        return changed

    def _if_held(self, trial_id: str, state: State) -> State:
        """Return the state of a trial that no process trains: held, or as it is."""
        group = self._groups.get(trial_id, "")
        waits = state in TO_TRAIN and self.is_held(group, self.trials[trial_id].seed)
        return State.HELD if waits else state

    def report(
        self,
        trial_id: str,
        state: State,
        metrics: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """Take the progress of a trial.

        Args:
            trial_id: The trial.
            state: Its state from now on.
            metrics: Of its last epoch; empty if it trained none.
            error: The error that ended it.
        """
        trial, metrics = self.trials[trial_id], metrics or {}
        trial.error = error
        trial.images_per_second = metrics.get("images_per_second", trial.images_per_second)
        epoch = metrics.get("epoch", trial.epoch)
        self._epochs_run += max(0, epoch - trial.epoch)
        self._move(trial, self._if_held(trial_id, state), epoch)
        if state == State.FAILED:
            self.failed[trial_id] = trial.label
        trial.value = metrics.get(self.metric.name, trial.value)
        trial.latest = metrics.get(self.column, trial.latest)
        trial.uniformity = metrics.get(COLLAPSE_METRIC, trial.uniformity)
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
        """Return the number of trials by state; those that Optuna has yet to suggest are new."""
        counts = self._states.copy()
        counts[State.NEW] += self._unknown
        return {state: number for state, number in counts.items() if number}

    def left(self) -> int:
        """Return the number of trials that are running or still to run."""
        return sum(self._states[state] for state in _LEFT) + self._unknown

    @property
    def _unknown(self) -> int:
        """Number of trials that Optuna has not suggested yet."""
        return max(0, self.target - len(self.trials))

    def running(self) -> list[TrialProgress]:
        """List the trials that are running."""
        return [trial for trial in self._entries() if trial.state == State.RUNNING]

    def elapsed(self) -> float:
        """Return the seconds since the start of this run."""
        return time.monotonic() - self._started

    @property
    def epochs_run(self) -> int:
        """Epochs that this run has trained, summed over all trials."""
        return self._epochs_run

    def epochs_per_second(self) -> float:
        """Return the epochs per second of this run, summed over all trials."""
        return self._epochs_run / max(1e-9, self.elapsed())

    def seconds_left(self) -> float | None:
        """Estimate the seconds left from the throughput so far; None before the first epoch."""
        if not any(self._states[state] for state in _LEFT_HERE) and not self._unknown:
            return 0.0
        epochs = self._epochs_left + self._unknown * self._most_epochs
        rate = self.epochs_per_second()
        return epochs / rate if rate else None

    def best_point(self) -> BestPoint[tuple[str, str]]:
        """Find the best point, as (key, label), by the mean over common seeds.

        Points with a trial that nearly collapsed are left out.
        """
        values: dict[tuple[str, str], dict[int, float]] = {}
        collapsed: set[tuple[str, str]] = set()
        stopped: set[tuple[str, str]] = set()
        for trial in self._entries():
            point = (trial.key, trial.point)
            if trial.state == State.STOPPED and trial.epoch == 0:  # a further seed
                stopped.add(point)
            if trial.state == State.FINISHED and (value := finite(trial.value)) is not None:
                values.setdefault(point, {})[trial.seed] = value
                if is_collapsed(trial.uniformity):
                    collapsed.add(point)
        return find_best_point(
            values, self.metric.mode, collapsed, most_points=self._added_seeds, stopped=stopped
        )

    def best(self) -> tuple[str, float, int] | None:
        """Return the best point's label, mean and number of seeds; None without a best point."""
        best = self.best_point()
        if best.point is None or best.mean is None:
            return None
        return best.point[1], best.mean, len(best.seeds)

    def without_value(self) -> int:
        """Return the number of finished trials without a finite value of the sweep's metric."""
        finished = [trial for trial in self._entries() if trial.state == State.FINISHED]
        return sum(finite(trial.value) is None for trial in finished)

    def _entries(self) -> list[TrialProgress]:
        """Copy the list of trials: one thread shows the board while another one changes it."""
        return list(self.trials.values())


def epoch_metric(metric: str, monitor: MonitorConfig) -> str:
    """Choose a metric that training trials have: ``metric``, its held-out counterpart, or the loss.

    Args:
        metric: The sweep's metric.
        monitor: The trials' measures while they train.
    """
    reported = {*epoch_metrics()} - {*monitored_metrics()} | {*monitor.metrics}
    held_out = f"heldout/{metric.rpartition('/')[2]}"
    return next((name for name in (metric, held_out) if name in reported), "train/loss")
