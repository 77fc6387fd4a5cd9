"""A sweep's trials grouped by point, and compared with a baseline seed by seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.best_point import BestPoint, find_best_point
from analysis.collect import select_finished
from analysis.labels import MEASURE_LABELS
from analysis.levels import choose_x, is_number, order_levels
from analysis.statistics import Estimate, Estimates, estimate_rows, paired_differences
from care.config.metrics import COLLAPSE_METRIC, is_collapsed
from care.registry import SPACES
from care.trials.state import State

_SPACES = tuple(f"{space}/" for space in SPACES)
Array = NDArray[Any]
Point = tuple[Any, ...]
"""A level of each axis, as :mod:`analysis.levels` makes them."""


@dataclass(frozen=True)
class Comparison:
    """A sweep's trials by point, along the axis on x.

    Attributes:
        trials: All trials, a row each.
        axes: Every axis, the one on x first.
        numeric: Whether every level on x is a number.
        metric: The sweep's metric.
        mode: Whether a larger or a smaller value of it is better.
        added_seeds: Whether points got seeds until they were decided.
        zips: Groups of axes that take their values together.
        raced: Whether a point that was worse got no further seeds.
    """

    trials: pd.DataFrame
    axes: list[str]
    numeric: bool
    metric: str = ""
    mode: Literal["max", "min"] = "max"
    added_seeds: bool = False
    zips: tuple[tuple[str, ...], ...] = ()
    raced: bool = False

    @property
    def x(self) -> str:
        """The axis on x."""
        return self.axes[0]

    @cached_property
    def done(self) -> pd.DataFrame:
        """The finished trials."""
        return select_finished(self.trials)

    @cached_property
    def _rows(self) -> dict[Point, list[int]]:
        """Rows of :attr:`done` by point, cached: a report asks for some thousand values."""
        rows: dict[Point, list[int]] = {}
        for row, point in enumerate(self.done[self.axes].itertuples(index=False, name=None)):
            rows.setdefault(point, []).append(row)
        return rows

    def points(self) -> list[Point]:
        """List every point of the axes, in the order of the axis on x."""
        return list(self._points)

    @cached_property
    def _points(self) -> list[Point]:
        unique = dict.fromkeys(self.trials[self.axes].itertuples(index=False, name=None))
        ranks = [
            {value: rank for rank, value in enumerate(self.levels(axis))} for axis in self.axes
        ]
        return sorted(
            unique, key=lambda p: [rank[value] for rank, value in zip(ranks, p, strict=True)]
        )

    def levels(self, axis: str) -> list[Any]:
        """List an axis's levels: numbers ascending, others in the order of the declaration."""
        return order_levels(self.trials[axis].tolist())

    def trial_ids(self, point: Point) -> set[str]:
        """Return the identities of a point's trials, finished or not."""
        return self._trial_ids[point]

    @cached_property
    def _trial_ids(self) -> dict[Point, set[str]]:
        trial_ids: dict[Point, set[str]] = {}
        columns = [*self.axes, "trial_id"]
        for *point, trial in self.trials[columns].itertuples(index=False, name=None):
            trial_ids.setdefault(tuple(point), set()).add(str(trial))
        return trial_ids

    def finished_trials(self, point: Point) -> int:
        """Count the finished trials of a point."""
        return len(self._rows.get(point, []))

    def finished_by_seed(self, point: Point) -> dict[int, str]:
        """Map the seeds of a point's finished trials to the trials' identities."""
        done = self.done.iloc[self._rows.get(point, [])]
        return dict(sorted(zip(map(int, done["seed"]), map(str, done["trial_id"]), strict=True)))

    def has_values(self, metric: str) -> bool:
        """Check that a finished trial has measured a metric."""
        return metric in self.done and bool(self.done[metric].notna().any())

    def has_finished(self, point: Point) -> bool:
        """Check that a point has a finished trial."""
        return self.finished_trials(point) > 0

    def collapsed_seeds(self, point: Point) -> list[int]:
        """Return the seeds of a point whose trials nearly collapsed."""
        values = self.by_seed(point, COLLAPSE_METRIC)
        return [seed for seed, value in values.items() if is_collapsed(value)]

    def split_by_collapse(self, point: Point, values: pd.Series) -> tuple[list[float], list[float]]:
        """Split a point's values, indexed by seed, by whether the trial nearly collapsed.

        Returns:
            (values of trials that are not nearly collapsed, values of those that are).
        """
        collapsed = values.index.isin(self.collapsed_seeds(point))
        return values[~collapsed].tolist(), values[collapsed].tolist()

    @cached_property
    def collapsed_points(self) -> list[Point]:
        """The points with a trial that nearly collapsed."""
        return [point for point in self.points() if self.collapsed_seeds(point)]

    def best_point(self) -> BestPoint[Point]:
        """Find the best point by the sweep's metric, without nearly collapsed points."""
        unique = {frozenset(self.trial_ids(point)): point for point in reversed(self.points())}
        chosen = set(unique.values())
        values = {
            point: self.by_seed(point, self.metric)
            for point in self.points()
            if point in chosen  # points that share their trials count once
        }
        return find_best_point(
            values,
            self.mode,
            self.collapsed_points,
            most_points=self.added_seeds,
            stopped=self.stopped_points,
        )

    @property
    def stopped_points(self) -> set[Point]:
        """The points that got no further seeds, as they were worse."""
        if not self.raced:
            return set()
        stopped = self.trials[self.trials["state"] == State.STOPPED.value]
        return set(stopped[self.axes].itertuples(index=False, name=None))

    def lines(self) -> dict[Point, list[Point]]:
        """Group the points into a figure's lines, by the values of the axes that are not on x."""
        return self._lines

    @cached_property
    def _lines(self) -> dict[Point, list[Point]]:
        lines: dict[Point, list[Point]] = {}
        for point in self.points():
            lines.setdefault(self._line_of(point), []).append(point)
        return lines

    @cached_property
    def line_axes(self) -> list[str]:
        """The axes whose values a line's points have in common: none that changes with x."""
        return self.other_axes(self.x)

    def other_axes(self, name: str) -> list[str]:
        """List the axes that can be equal while an axis changes: those not zipped with it."""
        together = {name, *(axis for group in self.zips if name in group for axis in group)}
        return [axis for axis in self.axes if axis not in together]

    def _line_of(self, point: Point) -> Point:
        if not self.zips:
            return point[1:]
        levels = dict(zip(self.axes, point, strict=True))
        return tuple(levels[axis] for axis in self.line_axes)

    def by_seed(self, point: Point, metric: str) -> dict[int, float]:
        """Return a metric's values at a point by ascending seed; fast, for thousands of points."""
        if metric not in self._values:
            self._values[metric] = self._read_values(metric)
        return self._values[metric].get(point, {})

    @cached_property
    def _values(self) -> dict[str, dict[Point, dict[int, float]]]:
        return {}

    def _read_values(self, metric: str) -> dict[Point, dict[int, float]]:
        if metric not in self.done:
            return {}
        values, seeds = self.done[metric].to_numpy(float), self.done["seed"].tolist()
        return {
            point: {
                int(seeds[row]): float(values[row])
                for row in sorted(rows, key=seeds.__getitem__)
                if not math.isnan(values[row])
            }
            for point, rows in self._rows.items()
        }

    @cached_property
    def seeds(self) -> list[int]:
        """The seeds of finished trials, ascending."""
        return sorted(set(map(int, self.done["seed"])))

    def by_point_and_seed(self, metric: str) -> Array:
        """Return a metric's values, a row for each point and a column for each of its seeds.

        NaN where the trial is not finished or has no value.
        """
        values = np.full((len(self._points), len(self.seeds)), math.nan)
        if metric in self.done:
            values[self._cells] = self.done[metric].to_numpy(float)
        return values

    @cached_property
    def _cells(self) -> tuple[Array, Array]:
        """The point and the seed of each finished trial, as indices."""
        column = {seed: index for index, seed in enumerate(self.seeds)}
        points = self.done[self.axes].itertuples(index=False, name=None)
        rows = np.array([self._index[point] for point in points], dtype=int)
        return rows, np.array([column[int(seed)] for seed in self.done["seed"]], dtype=int)

    @cached_property
    def baselines(self) -> Array:
        """The index of each point's baseline among the points."""
        return np.array([self._index[self.baseline(point)] for point in self._points], dtype=int)

    @cached_property
    def _index(self) -> dict[Point, int]:
        return {point: row for row, point in enumerate(self._points)}

    @cached_property
    def collapsed_by_point(self) -> Array:
        """The number of nearly collapsed trials of each point."""
        return np.array([len(self.collapsed_seeds(point)) for point in self._points], dtype=int)

    def values(self, point: Point, metric: str) -> pd.Series:
        """Return a metric's values at a point, indexed by seed."""
        values = self.by_seed(point, metric)
        seeds = pd.Index(list(values), dtype="int64", name="seed")
        return pd.Series(list(values.values()), seeds, dtype=float, name=metric)

    def mean(self, point: Point, metric: str) -> Estimate:
        """Estimate a metric's mean at a point."""
        return self.means(metric).row(self._index[point])

    def means(self, metric: str) -> Estimates:
        """Estimate a metric's mean at each point, cached: a report asks for some thousand."""
        if metric not in self._means:
            self._means[metric] = estimate_rows(self.by_point_and_seed(metric))
        return self._means[metric]

    @cached_property
    def _means(self) -> dict[str, Estimates]:
        return {}

    def baseline(self, point: Point) -> Point:
        """Return a point's baseline: the first point of its line, x = 0 or the smallest x."""
        return self.lines()[self._line_of(point)][0]

    def differences(self, point: Point, metric: str) -> pd.Series:
        """Subtract the baseline's values from a point's, for each seed that has both."""
        return paired_differences(
            self.values(point, metric), self.values(self.baseline(point), metric)
        )

    def difference(self, point: Point, metric: str) -> Estimate:
        """Estimate the mean of a point's differences to its baseline, paired by seed."""
        return self.changes(metric).row(self._index[point])

    def changes(self, metric: str) -> Estimates:
        """Estimate the mean of each point's differences to its baseline, cached."""
        if metric not in self._changes:
            self._changes[metric] = estimate_rows(self.differences_by_point(metric))
        return self._changes[metric]

    @cached_property
    def _changes(self) -> dict[str, Estimates]:
        return {}

    def differences_by_point(self, metric: str) -> Array:
        """Subtract the baseline's values from each point's: a row a point, a column a seed.

        NaN for a seed that only one of them has.
        """
        values = self.by_point_and_seed(metric)
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            return values - values[self.baselines]

    def measured(self) -> list[str]:
        """List the final measures that have a value, in the labels' order; the sweep's own first.

        The spaces of every measure are in one order, as the columns of a table need them.
        """
        done = self.done
        known = [str(name) for name in done.columns if done[name].notna().any()]
        measured = [name.split("/", 1) for name in known if name.startswith(_SPACES)]
        others = {measure for _, measure in measured} - set(MEASURE_LABELS)
        names = [
            f"{space}/{name}" for name in [*MEASURE_LABELS, *sorted(others)] for space in SPACES
        ]
        first = self.metric.partition("/")[2]
        return sorted(
            (name for name in names if name in known),
            key=lambda name: name.partition("/")[2] != first,
        )


def compare(
    trials: pd.DataFrame,
    axes: list[str],
    metric: str = "",
    mode: Literal["max", "min"] = "max",
    x: str | None = None,
    *,
    added_seeds: bool = False,
    zips: tuple[tuple[str, ...], ...] = (),
    raced: bool = False,
) -> Comparison:
    """Compare trials along the first numeric axis of two levels or more, else the first such axis.

    Args:
        trials: A row per trial, its axes as levels.
        axes: Every axis.
        metric: The sweep's metric.
        mode: Whether a larger or a smaller value of it is better.
        x: Another axis to compare along.
        added_seeds: Whether points got seeds until they were decided.
        zips: Groups of axes that take their values together.
        raced: Whether a point that was worse got no further seeds.
    """
    levels = {axis: trials[axis].tolist() for axis in axes}
    first = x or choose_x(axes, levels)
    others = [axis for axis in axes if axis != first]
    is_numeric = all(map(is_number, levels[first]))
    ordered = [first, *others]
    return Comparison(trials, ordered, is_numeric, metric, mode, added_seeds, zips, raced)
