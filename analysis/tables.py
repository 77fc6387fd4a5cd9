"""The report's tables of measures: the main ones, with a row per point, and the others.

Each is a bounded part of ``tables/summary.csv``, which has every point and measure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from analysis.comparison import Comparison, Point
from analysis.labels import (
    CURVES,
    SHORT_SPACE_LABELS,
    axis_label,
    measure_label,
    point_name,
    value_label,
)
from analysis.statistics import Estimate
from care.registry import SPACES

_MAIN = (
    "gamma",
    "wahba_per_sqrt_n",
    "hue_r2",
    "axis_error",
    "circularity",
    "probe_accuracy",
)


@dataclass(frozen=True)
class MainTable:
    """A table with a row for each point and a column for each measure and space.

    Attributes:
        axes: The labels of the axes.
        heads: Each measure's name and its number of columns.
        spaces: The space of each column.
        rows: Each point's levels and estimates.
        left_out: Number of points without a row.
        metrics: The metric of each column.
    """

    axes: list[str]
    heads: dict[str, int]
    spaces: list[str]
    rows: list[tuple[list[str], list[Estimate]]]
    left_out: int = 0
    metrics: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OtherTable:
    """A table with a row for each measure and space, and a column for each point.

    Attributes:
        points: The points' names.
        rows: Each measure's name, its space, and its estimates.
        left_out: Number of points without a column.
    """

    points: list[str]
    rows: list[tuple[str, str, list[Estimate]]]
    left_out: int = 0


def build_main_table(
    comparison: Comparison, extra: set[str], most_points: int | None = None
) -> MainTable:
    """Build the table of the measures that most questions are about.

    Args:
        comparison: The trials.
        extra: Further metrics to include.
        most_points: Largest number of points; of more, the best by the sweep's metric have a row.
    """
    points = select_best(comparison, most_points)
    metrics = _main_metrics(comparison, extra)
    heads: dict[str, int] = {}
    for metric in metrics:
        head = _head(metric)
        heads[head] = heads.get(head, 0) + 1
    rows = [
        (
            _marked(comparison, point, [value_label(value) for value in point]),
            [comparison.mean(point, metric) for metric in metrics],
        )
        for point in points
    ]
    left_out = len(comparison.points()) - len(points)
    axes = [axis_label(axis) for axis in comparison.axes]
    return MainTable(axes, heads, [_space(metric) for metric in metrics], rows, left_out, metrics)


def select_best(comparison: Comparison, most: int | None) -> list[Point]:
    """Select the best points that are not nearly collapsed if there are more than ``most``.

    Returns:
        At most ``most`` points; the first ones if none of the best is known yet.
    """
    points = comparison.points()
    if most is None or len(points) <= most:
        return points
    collapsed = set(comparison.collapsed_points)
    means = {point: comparison.mean(point, comparison.metric) for point in points}
    known = [point for point in points if means[point].n and point not in collapsed]
    known.sort(key=lambda point: means[point].mean, reverse=comparison.mode == "max")
    best = set((known or points)[:most])
    return [point for point in points if point in best]


def build_other_table(
    comparison: Comparison, extra: set[str], most_points: int | None = None
) -> OtherTable:
    """Build the table of the measures that :func:`build_main_table` leaves out."""
    main = _main_metrics(comparison, extra)
    points = select_best(comparison, most_points)
    rows = [
        (
            str(measure_label(metric.partition("/")[2])),
            _space(metric),
            [comparison.mean(point, metric) for point in points],
        )
        for metric in comparison.measured()
        if metric not in main
    ]
    names = [point_name(comparison.axes, point) for point in points]
    marked = [
        _marked(comparison, point, [name])[0] for point, name in zip(points, names, strict=True)
    ]
    return OtherTable(marked, rows, len(comparison.points()) - len(points))


def _marked(comparison: Comparison, point: Point, names: list[str]) -> list[str]:
    """Mark the first of a point's names with ⚠ if the point is nearly collapsed."""
    return [f"⚠\u00a0{names[0]}", *names[1:]] if comparison.collapsed_seeds(point) else names


def _main_metrics(comparison: Comparison, extra: set[str]) -> list[str]:
    measures = {*_MAIN, *(name.partition("/")[2] for name in extra)}
    measured, metric = comparison.measured(), comparison.metric
    first = [metric] if metric not in measured and comparison.has_values(metric) else []
    return [*first, *(name for name in measured if name.partition("/")[2] in measures)]


def _head(metric: str) -> str:
    space, _, measure = metric.partition("/")
    label = measure_label(measure) if space in SPACES else CURVES.get(metric)
    return f"{label.short or label.title} {label.better}".strip() if label else metric


def _space(metric: str) -> str:
    return SHORT_SPACE_LABELS.get(metric.partition("/")[0], "last epoch")
