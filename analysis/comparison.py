"""A sweep's trials grouped by point, and compared with a baseline seed by seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from analysis.collect import finished
from analysis.labels import MEASURES, SPACES, measure_label
from analysis.statistics import Estimate, estimate, paired_differences

Point = tuple[Any, ...]


@dataclass(frozen=True)
class Comparison:
    """Finished trials along the first numeric axis.

    Attributes:
        trials: All trials, a row each.
        axes: Every axis, the one on x first.
        numeric: Whether the one on x is a number.
    """

    trials: pd.DataFrame
    axes: list[str]
    numeric: bool

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
        unique = self.trials[self.axes].drop_duplicates()
        if self.numeric:
            unique = unique.sort_values(self.axes, kind="stable", key=_sortable)
        return list(unique.itertuples(index=False, name=None))

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
        """The names of the measures of the end of which there is a value, in the labels' order."""
        done = self.done
        known = [str(name) for name in done.columns if done[name].notna().any()]
        others = {name.partition("/")[2] for name in known} - set(MEASURES)
        order = [*MEASURES, *sorted(name for name in others if measure_label(name))]
        names = [f"{space}/{measure}" for measure in order for space in SPACES]
        return [name for name in names if name in known]


def compare(trials: pd.DataFrame, axes: list[str]) -> Comparison:
    """Choose the axis on x: the first numeric one, else the first."""
    numeric = [axis for axis in axes if pd.api.types.is_numeric_dtype(trials[axis])]
    first = (numeric or axes)[0]
    others = [axis for axis in axes if axis != first]
    return Comparison(trials, [first, *others], bool(numeric))


def _sortable(column: pd.Series) -> pd.Series:
    return column if pd.api.types.is_numeric_dtype(column) else column.astype(str)


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
