"""The Pareto front of a sweep with several metrics, as sentence and table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.comparison import Comparison, Point
from analysis.labels import point_name, short_metric_label
from analysis.pareto import Front, Objective, Values, find_front
from analysis.statistics import Estimate, estimate

_MOST_NAMED = 6  # points of the front in one sentence


def compare_objectives(comparison: Comparison, objectives: Sequence[Objective]) -> Front[Point]:
    """Find the front of a sweep's points; points that share their trials count once."""
    unique = {
        frozenset(comparison.trial_ids(point)): point for point in reversed(comparison.points())
    }
    chosen = set(unique.values())
    values = {
        point: _values(comparison, point, objectives)
        for point in comparison.points()
        if point in chosen
    }
    return find_front(values, objectives, comparison.collapsed_points)


def _values(comparison: Comparison, point: Point, objectives: Sequence[Objective]) -> Values:
    columns = [comparison.by_seed(point, objective.metric) for objective in objectives]
    seeds = set(columns[0]).intersection(*columns[1:])
    return {seed: [column[seed] for column in columns] for seed in sorted(seeds)}


@dataclass(frozen=True)
class FrontRow:
    """A compared point.

    Attributes:
        point: The point.
        name: Its name.
        cells: Mean and interval of each objective, over the compared seeds.
        first: Whether it is on the front.
    """

    point: Point
    name: str
    cells: tuple[Estimate, ...]
    first: bool


def list_front(
    comparison: Comparison, objectives: Sequence[Objective], front: Front[Point]
) -> list[FrontRow]:
    """List the compared points: the front, then the others in their order."""
    ordered = [*front.points, *(point for point in front.means if point not in front.points)]
    return [
        FrontRow(
            point,
            point_name(comparison.axes, point),
            tuple(
                estimate([comparison.by_seed(point, one.metric)[seed] for seed in front.seeds])
                for one in objectives
            ),
            point in front.points,
        )
        for point in ordered
    ]


def tabulate_front(
    comparison: Comparison, objectives: Sequence[Objective], rows: Sequence[FrontRow]
) -> pd.DataFrame:
    """Make a row for each compared point: its levels, and each objective with its interval."""
    table = []
    for row in rows:
        cells: dict[str, object] = dict(zip(comparison.axes, row.point, strict=True))
        cells["front"] = row.first
        for objective, cell in zip(objectives, row.cells, strict=True):
            cells[objective.metric] = cell.mean
            cells[f"{objective.metric} low"], cells[f"{objective.metric} high"] = (
                cell.low,
                cell.high,
            )
        table.append({**cells, "n": row.cells[0].n})
    return pd.DataFrame(table)


def describe_front(
    objectives: Sequence[Objective], front: Front[Point], rows: Sequence[FrontRow]
) -> str:
    """Describe the front in one sentence."""
    better = {"max": "larger is better", "min": "smaller is better"}
    names = " and ".join(
        f"{short_metric_label(one.metric)} ({better[one.mode]})" for one in objectives
    )
    shown = [
        f"{row.name} ({', '.join(f'{cell.value} {cell.interval}' for cell in row.cells)})"
        for row in rows
        if row.first
    ]
    more = f"; {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    left = f"; {len(front.collapsed)} nearly collapsed left out" if front.collapsed else ""
    text = f"{len(shown)} of {len(rows)} points: {'; '.join(shown[:_MOST_NAMED])}{more}{left}"
    return f"Pareto front by {names}: {text}."
