"""A sweep and its trials at one moment, with what people ask of them: counts, best point, front."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.best_point import BestPoint, find_best_point
from analysis.labels import point_name
from analysis.pareto import Front, Objective, find_front
from care.config.metrics import COLLAPSE_METRIC, is_collapsed
from care.system.holder import Holder
from care.trials.state import State
from sweeps.account import AccountRecord
from sweeps.plan_remarks import ShownTrial, describe_held, describe_stopped
from sweeps.spec.sweep import Sweep
from sweeps.states import MEANING
from sweeps.store import finite


@dataclass(frozen=True)
class TrialRow:
    """A trial of a sweep at one moment.

    Attributes:
        trial_id: Its identity.
        point: Dotted axis to value.
        seed: Its seed.
        state: Its state.
        epoch: Completed epochs.
        epochs: Epochs to train.
        reason: Cause of a failed, stale or damaged state, why its point was stopped, or by whose
            wish it is held; empty otherwise.
        measures: Metrics of the last epoch, and the final measures.
        images_per_second: Throughput of the last epoch; None before it.
        epoch_seconds: Wall time of the last epoch; None before it.
        host: Name of the machine of the last start; empty before it.
        updated: Time of the last change in UTC, ISO 8601; empty before it.
    """

    trial_id: str
    point: Mapping[str, Any]
    seed: int
    state: State
    epoch: int
    epochs: int
    reason: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)
    images_per_second: float | None = None
    epoch_seconds: float | None = None
    host: str = ""
    updated: str = ""

    @property
    def point_label(self) -> str:
        """Its point: ``λ=0.1``."""
        return point_name(self.point, self.point.values())

    @property
    def is_further_seed(self) -> bool:
        """Whether it was not started, since its point was worse than the best one."""
        return self.state == State.STOPPED and bool(self.reason)

    @property
    def label(self) -> str:
        """Its label: ``λ=0.1 seed=2``."""
        return f"{self.point_label} seed={self.seed}".strip()


@dataclass(frozen=True)
class SweepView:
    """A sweep with its trials at one moment.

    Attributes:
        sweep: The sweep.
        rows: Its trials, each once, in the order of its plan.
        unsuggested: Number of trials that Optuna has not suggested yet.
        driver: The process that runs it; None if no process does.
        created: Time of its first start in UTC, ISO 8601; empty for one of an earlier version.
        account: Its hours, and the limit that ended its last run.
    """

    sweep: Sweep
    rows: tuple[TrialRow, ...]
    unsuggested: int
    driver: Holder | None
    created: str = ""
    account: AccountRecord = field(default_factory=AccountRecord)

    @property
    def stopped(self) -> str:
        """Why its last run stopped early; empty if it did not, or if nothing is left."""
        return "" if self.driver or self.complete else self.account.reason

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.sweep.spec.name

    def counts(self) -> dict[State, int]:
        """Return the number of trials by state; those that Optuna has yet to suggest are new."""
        counts = Counter(row.state for row in self.rows)
        counts[State.NEW] += self.unsuggested
        return {state: number for state, number in counts.items() if number}

    @property
    def complete(self) -> bool:
        """Whether every trial is finished, or was stopped by the scheduler."""
        return all(MEANING[state].complete for state in self.counts())

    def seconds_left(self) -> float | None:
        """Estimate the seconds left from the last epochs of the trials that train; None without."""
        training = [row for row in self.rows if row.state == State.RUNNING]
        seconds = [row.epoch_seconds for row in training if row.epoch_seconds]
        if not seconds:
            return None
        left = sum(row.epochs - row.epoch for row in self.rows if MEANING[row.state].left)
        left += self.unsuggested * max(row.epochs for row in training)
        return left * statistics.median(seconds) / len(training)

    def updated(self) -> str:
        """Return the time of the last change of a trial, or of the declaration, in UTC."""
        return max([self.created, *(row.updated for row in self.rows)])

    def best(self) -> BestPoint[tuple[str, str]]:
        """Find the best point, as (key, label), by the sweep's metric.

        Points with a trial that nearly collapsed are left out.
        """
        metric = self.sweep.spec.metric
        values: dict[tuple[str, str], dict[int, float]] = {}
        collapsed: set[tuple[str, str]] = set()
        for row in self.rows:
            value = finite(row.measures.get(metric.name))
            if row.state == State.FINISHED and value is not None:
                point = (repr(row.point), row.point_label)  # two points may have one label
                values.setdefault(point, {})[row.seed] = value
                if is_collapsed(row.measures.get(COLLAPSE_METRIC)):
                    collapsed.add(point)
        stopped = {(repr(row.point), row.point_label) for row in self.rows if row.is_further_seed}
        added = self.sweep.spec.adaptive is not None
        return find_best_point(values, metric.mode, collapsed, most_points=added, stopped=stopped)

    def remarks(self) -> list[str]:
        """Describe the points that got no further seed, and the held trials, a line each."""
        rows = self.rows
        shown = [ShownTrial(row.point_label, row.seed, row.state, row.reason) for row in rows]
        return [*describe_stopped(shown), *describe_held(shown)]

    def as_json(self) -> dict[str, Any]:
        """Convert best point, front and remarks to JSON for ``care sweep status --json``."""
        best = self.best()
        return {
            "best": best.point
            and {"point": best.point[1], "mean": best.mean, "n": len(best.seeds)},
            "front": self._front_as_json(),
            "remarks": self.remarks(),
        }

    def _front_as_json(self) -> list[dict[str, Any]]:
        """Convert the Pareto front to JSON; empty for a sweep with one metric."""
        names = [metric.name for metric in self.sweep.spec.metrics]
        if not names:
            return []
        front = self.front()
        return [
            {"point": point[1], "means": dict(zip(names, front.means[point], strict=True))}
            for point in front.points
        ]

    def front(self) -> Front[tuple[str, str]]:
        """Find the Pareto front, as (key, label), of the sweep's metrics."""
        objectives = [Objective(one.name, one.mode) for one in self.sweep.spec.objectives]
        values: dict[tuple[str, str], dict[int, list[float]]] = {}
        collapsed: set[tuple[str, str]] = set()
        for row in self.rows:
            found = [finite(row.measures.get(objective.metric)) for objective in objectives]
            known = [value for value in found if value is not None]
            if row.state == State.FINISHED and len(known) == len(found):
                point = (repr(row.point), row.point_label)
                values.setdefault(point, {})[row.seed] = known
                if is_collapsed(row.measures.get(COLLAPSE_METRIC)):
                    collapsed.add(point)
        return find_front(values, objectives, collapsed)
