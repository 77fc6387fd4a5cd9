"""A sweep's answer for MLflow: curves over the axis, a table, and sentences."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analysis.collect import tabulate
from analysis.comparison import Comparison, Point, compare
from analysis.comparison_tables import build_summary_table
from analysis.figures import Positions, draw_measures, shown_measures
from analysis.findings import HEADLINES, Answer, answer
from analysis.front import compare_objectives, describe_front, list_front
from analysis.labels import (
    CURVE_PARTS,
    axis_label,
    axis_name,
    point_name,
    short_metric_label,
    value_label,
)
from analysis.levels import to_level
from analysis.pareto import Objective
from analysis.statistics import Estimate
from analysis.style import png
from analysis.summary import Member

_MOST_METRICS = 8
_MOST_LINES = 8
_MOST_ROWS = 24  # of the text's table
_MOST_COLUMNS = 5  # measures in the text's table
_MOST_POINTS = 100  # of which the table has every measure
_PICTURE_PIXELS = 800  # a wider picture pushes MLflow's column of facts off the page


@dataclass(frozen=True)
class Overview:
    """The answer of a sweep, as far as its trials are finished.

    Attributes:
        answer: The effect of the axis on x in one line; the best point if it cannot be compared.
        remarks: Further sentences.
        text_table: The main measures by point, in columns of equal width.
        table: A row for each point and measure, as columns.
        curves: Value by (name, step); a step is a level of the axis on x. A point has values once
            none of its trials is left to run.
        chief: The measures of the curves, the sweep's metric first.
        axes: The axes, the one on x first.
        numeric: Whether the values on x are numbers.
        x: Name of the curve with the positions on x; empty if they are no numbers.
        picture: The measures against the axis as PNG; None without finished trials.
        front: Trials of the points on the Pareto front; empty with one metric.
    """

    answer: str
    remarks: list[str]
    text_table: str
    table: dict[str, list[Any]]
    curves: dict[tuple[str, int], float]
    chief: list[str]
    axes: tuple[str, ...]
    numeric: bool
    x: str
    picture: bytes | None = None
    front: frozenset[str] = frozenset()


def build_overview(
    members: Sequence[Member],
    values: Mapping[str, Mapping[str, float]],
    metric: str,
    mode: Literal["max", "min"],
    pending: Collection[str],
    *,
    with_picture: bool,
    added_seeds: bool = False,
    objectives: Sequence[Objective] = (),
    zips: tuple[tuple[str, ...], ...] = (),
    raced: bool = False,
) -> Overview | None:
    """Compute the answer of a sweep; None without axes or finished trials.

    Args:
        members: Every planned trial.
        values: The numbers of each finished trial: its last epoch's metrics and its measures.
        metric: The sweep's metric.
        mode: Whether a larger or a smaller value of it is better.
        pending: Trials that are running or still to run.
        with_picture: Whether to draw the picture, which takes a second.
        added_seeds: Whether points got seeds until they were decided.
        objectives: The sweep's metrics, if it has several.
        zips: Groups of axes that take their values together.
        raced: Whether a point that was worse got no further seeds.
    """
    axes = list(members[0].axes) if members else []
    if not axes or not values:
        return None
    rows = [
        {
            "trial_id": member.trial_id,
            **{axis: to_level(value) for axis, value in member.axes.items()},
            "seed": member.seed,
            "state": member.state.value,
            **values.get(member.trial_id, {}),
        }
        for member in members
    ]
    comparison = compare(
        tabulate(rows, axes), axes, metric, mode, added_seeds=added_seeds, zips=zips, raced=raced
    )
    text = answer(comparison)
    if text is None:
        return None
    chief = _chief_metrics(comparison)
    sentences, front = _front(comparison, objectives)
    picture = draw_measures(comparison) if with_picture and shown_measures(comparison) else None
    return Overview(
        answer=text.headline,
        remarks=[*sentences, *_remarks(comparison, text)],
        text_table=_format_table(comparison, chief),
        table=_table(comparison, chief),
        curves=dict(_curves(comparison, chief, pending)),
        chief=chief,
        axes=tuple(comparison.axes),
        numeric=comparison.numeric,
        x=_x_name(comparison),
        picture=png(picture, _PICTURE_PIXELS) if picture else None,
        front=front,
    )


def _front(
    comparison: Comparison, objectives: Sequence[Objective]
) -> tuple[list[str], frozenset[str]]:
    """Describe the Pareto front, and list its trials."""
    if not objectives:
        return [], frozenset()
    front = compare_objectives(comparison, objectives)
    rows = list_front(comparison, objectives, front)
    trials = frozenset[str]().union(*map(comparison.trial_ids, front.points))
    return ([describe_front(objectives, front, rows)] if rows else []), trials


def _chief_metrics(comparison: Comparison) -> list[str]:
    """Choose the measures that most questions are about, the sweep's metric first."""
    names = dict.fromkeys([comparison.metric, *HEADLINES, *comparison.measured()])
    return [name for name in names if comparison.has_values(name)][:_MOST_METRICS]


def _x_name(comparison: Comparison) -> str:
    name, positions = axis_name(comparison.x), Positions(comparison)
    if not comparison.numeric:
        return ""
    if not positions.log:
        return name
    # MLflow draws no logarithmic axis over a metric; 0 has no logarithm.
    return f"log10 {name} - 0 leftmost" if positions.zero else f"log10 {name}"


def _curves(
    comparison: Comparison, metrics: list[str], pending: Collection[str]
) -> Iterator[tuple[tuple[str, int], float]]:
    """Yield ((name, step), value) of each curve at each point."""
    positions, x_name = Positions(comparison), _x_name(comparison)
    steps = {level: step for step, level in enumerate(comparison.levels(comparison.x))}
    lines = list(comparison.lines().items())
    for setting, points in lines[:_MOST_LINES]:
        end = line_suffix(comparison.line_axes, setting)
        for point in points:
            if not comparison.has_finished(point) or comparison.trial_ids(point) & set(pending):
                continue
            step = steps[point[0]]
            if x_name:
                yield (axis_name(comparison.x), step), float(point[0])
                yield (x_name, step), positions(point[0])
            for metric in metrics:
                yield from (
                    ((f"{metric}{end} {part}", step), value)
                    for part, value in _parts(comparison, point, metric)
                )


def _parts(comparison: Comparison, point: Point, metric: str) -> Iterator[tuple[str, float]]:
    mean = comparison.mean(point, metric)
    change = comparison.difference(point, metric).mean
    for part, value in zip(
        CURVE_PARTS, (mean.mean, mean.low, mean.high, mean.n, change), strict=True
    ):
        if math.isfinite(value) and mean.n:
            yield part, float(value)


def line_suffix(axes: Sequence[str], setting: Point) -> str:
    """Name a line by its axes besides x, in the characters that MLflow allows in a metric."""
    name = point_name(axes, setting).replace("=", " ")
    plain = "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)
    return f" {plain}" if plain else ""


def _remarks(comparison: Comparison, text: Answer) -> list[str]:
    remarks = [text.best] if text.axes else []
    names = [point_name(comparison.axes, point) for point in comparison.collapsed_points]
    if names:
        remarks.append(f"⚠ Nearly collapsed, left out: {'; '.join(names[:_MOST_ROWS])}.")
    return [*remarks, *([text.chance] if text.chance else [])]


def _format_table(comparison: Comparison, metrics: list[str]) -> str:
    shown = metrics[:_MOST_COLUMNS]
    heads = [*map(axis_label, comparison.axes), "n", *map(short_metric_label, shown), ""]
    points = comparison.points()
    rows = [
        [
            *map(value_label, point),
            str(comparison.finished_trials(point)),
            *(_cell(comparison.mean(point, metric)) for metric in shown),
            "⚠ nearly collapsed" if comparison.collapsed_seeds(point) else "",
        ]
        for point in points[:_MOST_ROWS]
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [heads, *rows]
    ]
    if len(points) > _MOST_ROWS:
        lines.append(f"… and {len(points) - _MOST_ROWS} more points: summary.json")
    return "\n".join(lines)


def _cell(mean: Estimate) -> str:
    return f"{mean.value} {mean.interval.partition(',')[0]}" if mean.n > 1 else mean.value


def _table(comparison: Comparison, chief: list[str]) -> dict[str, list[Any]]:
    few = len(comparison.points()) <= _MOST_POINTS
    metrics = list(dict.fromkeys([*chief, *comparison.measured()])) if few else chief
    table = build_summary_table(comparison, metrics)
    table = table[table["n"] > 0].rename(
        columns={axis: axis_label(axis) for axis in comparison.axes}
    )
    return {
        str(name): [_json_value(value) for value in column.tolist()]
        for name, column in table.items()
    }


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (int, str, bool)) else value_label(value)
