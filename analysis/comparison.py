"""A sweep's trials grouped by point, and compared with a baseline seed by seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from analysis.collect import finished
from analysis.election import Election, elect
from analysis.labels import MEASURES, SPACES
from analysis.levels import is_number, ordered
from analysis.statistics import Estimate, estimate, paired_differences
from care.config.metrics import COLLAPSE_METRIC, is_collapsed

_SPACES = tuple(f"{space}/" for space in SPACES)
Point = tuple[Any, ...]
"""A level of each axis; see :mod:`analysis.levels`."""


@dataclass(frozen=True)
class Comparison:
    """Finished trials by point, along the axis on x.

    Attributes:
        trials: All trials, a row each.
        axes: Every axis, the one on x first.
        numeric: Whether every level on x is a number.
        metric: What the sweep is judged by.
        mode: Whether more or less of it is better.
    """

    trials: pd.DataFrame
    axes: list[str]
    numeric: bool
    metric: str = ""
    mode: Literal["max", "min"] = "max"

    @property
    def x(self) -> str:
        """The axis on x."""
        return self.axes[0]

    @cached_property
    def done(self) -> pd.DataFrame:
        """The trials whose numbers count."""
        return finished(self.trials)

    @cached_property
    def _places(self) -> dict[Point, list[int]]:
        """Rows of :attr:`done` by point: a report asks for some thousand values."""
        places: dict[Point, list[int]] = {}
        for place, point in enumerate(self.done[self.axes].itertuples(index=False, name=None)):
            places.setdefault(point, []).append(place)
        return places

    def points(self) -> list[Point]:
        """Every point of the axes, in the order of the axis on x."""
        return list(self._points)

    @cached_property
    def _points(self) -> list[Point]:
        there = dict.fromkeys(self.trials[self.axes].itertuples(index=False, name=None))
        ranks = [
            {value: rank for rank, value in enumerate(self.levels(axis))} for axis in self.axes
        ]
        return sorted(
            there, key=lambda p: [rank[value] for rank, value in zip(ranks, p, strict=True)]
        )

    def levels(self, axis: str) -> list[Any]:
        """An axis's levels: numbers ascending, others in the order in which they were declared."""
        return ordered(self.trials[axis].tolist())

    def trial_ids(self, point: Point) -> set[str]:
        """The trials of a point, finished or not."""
        return self._trial_ids[point]

    @cached_property
    def _trial_ids(self) -> dict[Point, set[str]]:
        found: dict[Point, set[str]] = {}
        columns = [*self.axes, "trial_id"]
        for *point, trial in self.trials[columns].itertuples(index=False, name=None):
            found.setdefault(tuple(point), set()).add(str(trial))
        return found

    def finished_trials(self, point: Point) -> int:
        """How many trials of a point count."""
        return len(self._places.get(point, []))

    def has_values(self, metric: str) -> bool:
        """Whether a trial that counts has measured a metric."""
        return metric in self.done and bool(self.done[metric].notna().any())

    def has_finished(self, point: Point) -> bool:
        """Whether a trial of a point counts."""
        return self.finished_trials(point) > 0

    def collapsed(self, point: Point) -> list[int]:
        """The seeds of a point whose trial ended next to collapse."""
        values = self.values(point, COLLAPSE_METRIC)
        return [seed for seed, value in _by_seed(values).items() if is_collapsed(value)]

    def parted(self, point: Point, values: pd.Series) -> tuple[list[float], list[float]]:
        """Part a point's values by seed: of trials not next to collapse, and of the others."""
        collapsed = set(self.collapsed(point))
        bad = [seed in collapsed for seed in values.index]
        return values[[not one for one in bad]].tolist(), values[bad].tolist()

    @cached_property
    def collapsed_points(self) -> list[Point]:
        """The points with a trial that ended next to collapse."""
        return [point for point in self.points() if self.collapsed(point)]

    def election(self) -> Election[Point]:
        """The best point by the sweep's metric, without those next to collapse."""
        unique = {frozenset(self.trial_ids(point)): point for point in reversed(self.points())}
        values = {
            point: _by_seed(self.values(point, self.metric))
            for point in self.points()
            if point in unique.values()  # two points that are one trial are one point
        }
        return elect(values, self.mode, self.collapsed_points)

    def lines(self) -> dict[Point, list[Point]]:
        """Points by the values of the other axes: what one line of a figure connects."""
        lines: dict[Point, list[Point]] = {}
        for point in self.points():
            lines.setdefault(point[1:], []).append(point)
        return lines

    def values(self, point: Point, metric: str) -> pd.Series:
        """A metric's values at a point, indexed by seed."""
        if metric not in self.done:
            return pd.Series(dtype=float)
        here = self._places.get(point, [])
        seeds = pd.Index(self.done["seed"].iloc[here])
        found = pd.Series(self.done[metric].iloc[here].to_numpy(float), seeds, name=metric)
        return found.dropna().sort_index()

    def mean(self, point: Point, metric: str) -> Estimate:
        """A metric's mean at a point."""
        return estimate(self.values(point, metric).tolist())

    def baseline(self, point: Point) -> Point:
        """What a point is compared with: its line's first point, x = 0 or the smallest."""
        return self.lines()[point[1:]][0]

    def differences(self, point: Point, metric: str) -> pd.Series:
        """A metric minus its baseline's, for each seed that has both."""
        return paired_differences(
            self.values(point, metric), self.values(self.baseline(point), metric)
        )

    def difference(self, point: Point, metric: str) -> Estimate:
        """The mean of :meth:`differences`."""
        return estimate(self.differences(point, metric).tolist())

    def measured(self) -> list[str]:
        """Name the final measures that have a value, in the labels' order; the sweep's own first.

        Each measure has its spaces in one order, so that a table's columns read alike.
        """
        done = self.done
        known = [str(name) for name in done.columns if done[name].notna().any()]
        measured = [name.split("/", 1) for name in known if name.startswith(_SPACES)]
        others = {measure for _, measure in measured} - set(MEASURES)
        names = [f"{space}/{name}" for name in [*MEASURES, *sorted(others)] for space in SPACES]
        found = [name for name in names if name in known]
        first = self.metric.partition("/")[2]
        return sorted(found, key=lambda name: name.partition("/")[2] != first)


def _by_seed(values: pd.Series) -> dict[int, float]:
    return dict(zip(map(int, values.index), map(float, values), strict=True))


def compare(
    trials: pd.DataFrame, axes: list[str], metric: str = "", mode: Literal["max", "min"] = "max"
) -> Comparison:
    """Choose the axis on x: the first numeric one of two levels or more, else the first such one.

    Args:
        trials: A row a trial, its axes as levels.
        axes: Every axis.
        metric: What the sweep is judged by.
        mode: Whether more or less of it is better.
    """
    levels = {axis: ordered(trials[axis].tolist()) for axis in axes}
    several = [axis for axis in axes if len(levels[axis]) > 1] or axes
    numeric = [axis for axis in several if all(map(is_number, levels[axis]))]
    first = (numeric or several)[0]
    others = [axis for axis in axes if axis != first]
    return Comparison(trials, [first, *others], bool(numeric), metric, mode)


def summary_table(comparison: Comparison, metrics: list[str]) -> pd.DataFrame:
    """A row for each point and metric: mean, interval, n, paired difference with the same."""
    rows = []
    for point in comparison.points():
        for metric in metrics:
            mean, change = comparison.mean(point, metric), comparison.difference(point, metric)
            rows.append(
                {
                    **dict(zip(comparison.axes, point, strict=True)),
                    "metric": metric,
                    "mean": mean.mean,
                    "low": mean.low,
                    "high": mean.high,
                    "n": mean.n,
                    "collapsed": len(comparison.collapsed(point)),
                    "difference": change.mean,
                    "difference_low": change.low,
                    "difference_high": change.high,
                    "difference_n": change.n,
                }
            )
    return pd.DataFrame(rows)


def paired_table(comparison: Comparison, metrics: list[str]) -> pd.DataFrame:
    """A row for each point, metric and seed: the value minus the baseline's."""
    rows = []
    for point in comparison.points():
        for metric in metrics:
            for seed, value in comparison.differences(point, metric).items():
                where = dict(zip(comparison.axes, point, strict=True))
                rows.append({**where, "metric": metric, "seed": seed, "difference": value})
    columns = [*comparison.axes, "metric", "seed", "difference"]
    return pd.DataFrame(rows, columns=columns)
