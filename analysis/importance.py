"""Importance of each axis for a sweep's metrics, with intervals over points and seeds.

In a full grid the shares of the variance are known exactly. Elsewhere the numbers are Optuna's,
which this package does not import: :mod:`sweeps.tune.importance` computes them for the points and
resamples that are chosen here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparison import Comparison, Point
from analysis.labels import UNUSED, axis_label, short_metric_label
from analysis.levels import to_level
from analysis.pareto import Objective
from analysis.summary import SweepSummary
from care.system.rng import generator

LEAST_OF_GRID = 10
"""Points of a grid; of fewer, the tables and the heat map show all there is."""

_LEAST_POINTS = 20  # of a forest; it ascribes the noise of fewer to axes without an effect
_MOST_OF_FANOVA = 100  # points; the forest of more takes many seconds for each resample
# A resample of fANOVA takes fifty times as long as one of PED-ANOVA.
_RESAMPLES = {"ANOVA": 1000, "fANOVA": 40, "PED-ANOVA": 200}
_LEAST_RESAMPLES = {"ANOVA": 100, "fANOVA": 40, "PED-ANOVA": 20}
_MOST_DRAWN = {"ANOVA": 2_000_000, "fANOVA": 4_000, "PED-ANOVA": 40_000}  # points, over all
_LEAST_TOP = 5  # points among the best, by the advice in Optuna's documentation
_TOP = 0.1
_PERCENTILES = (2.5, 97.5)

Axes = tuple[str, ...]
"""An axis, or axes that take their values together."""


@dataclass(frozen=True)
class Method:
    """A definition of importance.

    Attributes:
        name: ANOVA and fANOVA give shares of the variance, PED-ANOVA shares of the difference
            between the best points and all.
        top: Part of the points that are the best, for PED-ANOVA.
    """

    name: Literal["ANOVA", "fANOVA", "PED-ANOVA"]
    top: float


@dataclass(frozen=True)
class Draw:
    """The points and values of which importance is computed once.

    Attributes:
        values: The metric by point, smaller is better; NaN for a point without one.
        counts: How often each point counts.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]


Evaluate = Callable[
    [Method, Sequence[Mapping[str, Any]], Sequence[Axes], Sequence[Draw]], list[dict[Axes, float]]
]
"""Computes the importance of each of the axes for each draw, given the points.

The first draw is the one that is shown, so it may be computed with more care.
"""


@dataclass(frozen=True)
class AxisImportance:
    """The importance of an axis for a metric.

    Attributes:
        axes: The axis, or axes that take their values together.
        share: Its importance, from 0 to 1.
        low: The 2.5th percentile over the resamples; NaN without any.
        high: The 97.5th percentile.
        first: Part of the resamples in which no axis is more important; NaN without any.
        points: Number of points that have the axis.
    """

    axes: Axes
    share: float
    low: float
    high: float
    first: float
    points: int

    @property
    def label(self) -> str:
        """The axes as text."""
        return ", ".join(map(axis_label, self.axes))

    @property
    def interval(self) -> str:
        """The interval as text; – without one."""
        return "–" if math.isnan(self.low) else f"{self.low:.2f} to {self.high:.2f}"


@dataclass(frozen=True)
class Ranking:
    """The importance of every axis for one metric.

    Attributes:
        metric: The metric.
        method: The definition of importance.
        rows: The axes, the most important first.
        points: Number of points.
        seeds: Number of seeds.
        resamples: Number of resamples; 0 in a full grid with one seed.
    """

    metric: str
    method: Method
    rows: tuple[AxisImportance, ...]
    points: int
    seeds: int
    resamples: int


@dataclass(frozen=True)
class Importances:
    """The rankings of a sweep, and the reasons for those that are missing.

    Attributes:
        rankings: One for each metric.
        left_out: A sentence for each thing that is not computed.
    """

    rankings: tuple[Ranking, ...] = ()
    left_out: tuple[str, ...] = ()


def rank_by_importance(
    comparison: Comparison, summary: SweepSummary, evaluate: Evaluate | None
) -> Importances:
    """Rank the axes of a sweep in which two or more of them vary.

    Points that are nearly collapsed are left out, as in the other comparisons.
    """
    axes = varying_axes(comparison)
    if len(axes) < 2 or evaluate is None or comparison.done.empty:
        return Importances()
    known = {
        tuple(to_level(one.axes[axis]) for axis in comparison.axes): one.axes
        for one in summary.members
    }
    rankings: list[Ranking] = []
    problems: dict[str, list[str]] = {}
    for objective in summary.objectives or (Objective(summary.metric, summary.mode),):
        points = _points(comparison, objective.metric)
        if problem := _problem(comparison, points, objective.metric):
            problems.setdefault(problem, []).append(short_metric_label(objective.metric))
        elif len(points) >= LEAST_OF_GRID:
            raw = {point: known[point] for point in points}
            rankings.append(_rank(comparison, objective, raw, axes, evaluate))
    left_out = (
        f"The axes' importance for {' and for '.join(names)} is not computed: {problem}."
        for problem, names in problems.items()
    )
    return Importances(tuple(rankings), tuple(left_out))


def varying_axes(comparison: Comparison) -> list[Axes]:
    """List the axes of several levels; those that take their values together are one."""
    groups = {axis: group for group in comparison.zips for axis in group}
    several = [axis for axis in comparison.axes if len(comparison.levels(axis)) > 1]
    return list(dict.fromkeys(tuple(groups.get(axis, (axis,))) for axis in several))


def _points(comparison: Comparison, metric: str) -> list[Point]:
    collapsed = set(comparison.collapsed_points)
    return [
        point
        for point in comparison.points()
        if point not in collapsed
        and any(map(math.isfinite, comparison.by_seed(point, metric).values()))
    ]


def _problem(comparison: Comparison, points: Sequence[Point], metric: str) -> str:
    """Return why the importance cannot be computed; empty if it can, or in a small grid."""
    declared = comparison.points()
    if len(declared) < LEAST_OF_GRID and _is_grid(comparison, declared):
        return ""
    if len(points) < _LEAST_POINTS and not _is_whole_grid(comparison, points, metric):
        return (
            f"it needs a full grid with all seeds, or {_LEAST_POINTS} points, that are finished "
            f"and not nearly collapsed, and there {'is' if len(points) == 1 else 'are'} "
            f"{len(points)}"
        )
    means = {comparison.mean(point, metric).mean for point in points}
    return "all points have one value" if len(means) == 1 else ""


def _is_whole_grid(comparison: Comparison, points: Sequence[Point], metric: str) -> bool:
    """Check that points are a full grid, and that each has a value for every seed."""
    columns = [comparison.by_seed(point, metric) for point in points]
    known = [{s for s, value in column.items() if math.isfinite(value)} for column in columns]
    return _is_grid(comparison, points) and all(seeds == known[0] for seeds in known)


def _is_grid(comparison: Comparison, points: Sequence[Point]) -> bool:
    """Check that points are all combinations of their levels; zipped axes count as one."""
    if any(UNUSED in point for point in points):
        return False
    groups = [[comparison.axes.index(axis) for axis in one] for one in varying_axes(comparison)]
    sizes = [len({tuple(point[i] for i in group) for point in points}) for group in groups]
    return math.prod(sizes) == len(points)


def _indices(column: Sequence[Any]) -> list[int]:
    """Number the levels of a column in the order of their first point."""
    numbers: dict[Any, int] = {}
    return [numbers.setdefault(level, len(numbers)) for level in column]


def _rank(
    comparison: Comparison,
    objective: Objective,
    points: Mapping[Point, Mapping[str, Any]],
    axes: Sequence[Axes],
    evaluate: Evaluate,
) -> Ranking:
    values = _matrix(comparison, list(points), objective)
    levels = [dict(zip(comparison.axes, point, strict=True)) for point in points]
    counts = {one: sum(point[one[0]] != UNUSED for point in levels) for one in axes}
    present = [one for one in axes if len({point[one[0]] for point in levels} - {UNUSED}) > 1]
    grid = _is_whole_grid(comparison, list(points), objective.metric)
    method = _choose(list(points), grid)
    affordable = max(_LEAST_RESAMPLES[method.name], _MOST_DRAWN[method.name] // len(points))
    number = min(_RESAMPLES[method.name], affordable)
    draws = make_draws(values, number, fixed_points=method.name == "ANOVA")
    if method.name == "ANOVA":
        found = split_variance(levels, present, [draw.values for draw in draws])
    else:
        found = evaluate(method, list(points.values()), present, draws)
    rows = [_summarize(one, found, counts[one]) for one in present]
    rows.sort(key=lambda row: -row.share)
    return Ranking(
        objective.metric, method, tuple(rows), len(points), values.shape[1], len(draws) - 1
    )


def _summarize(axes: Axes, found: Sequence[Mapping[Axes, float]], points: int) -> AxisImportance:
    whole, *resampled = found
    if not resampled:
        return AxisImportance(axes, whole[axes], math.nan, math.nan, math.nan, points)
    shares = np.array([one[axes] for one in resampled])
    low, high = np.percentile(shares, _PERCENTILES)
    first = float(np.mean([one[axes] >= max(one.values()) for one in resampled]))
    return AxisImportance(axes, whole[axes], float(low), float(high), first, points)


def _choose(points: Sequence[Point], grid: bool) -> Method:
    """Choose the method: exact in a full grid, by a forest if points are few and have every axis.

    Args:
        points: The points.
        grid: Whether they are a full grid, and each has a value for every seed.
    """
    top = min(0.5, max(_TOP, _LEAST_TOP / len(points)))
    if grid:
        return Method("ANOVA", top)
    conditional = any(UNUSED in point for point in points)
    few = len(points) <= _MOST_OF_FANOVA
    return Method("fANOVA" if few and not conditional else "PED-ANOVA", top)


def split_variance(
    levels: Sequence[Mapping[str, Any]],
    axes: Sequence[Axes],
    draws: Sequence[NDArray[np.float64]],
) -> list[dict[Axes, float]]:
    """Split the variance over a full grid: the share that the means of an axis's levels have.

    What remains is the share of axes together. In a full grid this is the decomposition that fANOVA
    estimates.

    Args:
        levels: The points.
        axes: The axes.
        draws: Values of the points, several times.
    """
    shares: list[dict[Axes, float]] = [{} for _ in draws]
    for one in axes:
        numbers = np.array(_indices([tuple(point[axis] for axis in one) for point in levels]))
        sizes = np.bincount(numbers)
        for found, values in zip(shares, draws, strict=True):
            means = np.bincount(numbers, values) / sizes
            found[one] = float(means.var() / values.var())
    return shares


def _matrix(
    comparison: Comparison, points: Sequence[Point], objective: Objective
) -> NDArray[np.float64]:
    """Return a metric by point and seed, smaller is better; NaN where there is none."""
    columns = [comparison.by_seed(point, objective.metric) for point in points]
    seeds = sorted({seed for column in columns for seed in column})
    rows = [[column.get(seed, math.nan) for seed in seeds] for column in columns]
    values = np.array(rows, dtype=np.float64)
    values[~np.isfinite(values)] = math.nan
    return -values if objective.mode == "max" else values


def make_draws(
    values: NDArray[np.float64], resamples: int, *, fixed_points: bool = False
) -> list[Draw]:
    """Make the draw of all points and seeds once each, then resamples.

    A resample draws as many points and seeds as there are, with replacement. It has one draw of
    seeds for all points, since points are compared seed by seed. The generator's seed is fixed: the
    same numbers give the same report.

    Args:
        values: The metric by point and seed; NaN where there is none.
        resamples: Number of resamples.
        fixed_points: Whether only seeds are drawn: the points of a grid were all chosen. With a
            single seed there are no resamples then.
    """
    points, seeds = values.shape
    once = np.ones(points, dtype=np.int64)
    draws = [Draw(_means(values), once)]
    number = 0
    while len(draws) <= resamples and not (fixed_points and seeds == 1):
        random = generator(0, "importance", number)
        number += 1
        means = _means(values[:, random.integers(seeds, size=seeds)])
        counts = once
        if not fixed_points:
            counts = np.bincount(random.integers(points, size=points), minlength=points)
        kept = means[counts > 0]
        if len(np.unique(kept[np.isfinite(kept)])) > 1:  # else there is no variance to share
            draws.append(Draw(means, counts.astype(np.int64)))
    return draws


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(values)
    number = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), math.nan)


def tabulate_importances(rankings: Sequence[Ranking]) -> pd.DataFrame:
    """Make a row for each metric and axis."""
    return pd.DataFrame(
        {
            "metric": ranking.metric,
            "axis": " & ".join(row.axes),
            "method": ranking.method.name,
            "importance": row.share,
            "low": row.low,
            "high": row.high,
            "first": row.first,
            "points": row.points,
            "seeds": ranking.seeds,
        }
        for ranking in rankings
        for row in ranking.rows
    )
