"""The paper's numbers beside the measured ones."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.comparison import Comparison, Point
from analysis.labels import VARIANT, point_name
from analysis.statistics import Estimate, estimate
from analysis.summary import Reproduction


@dataclass(frozen=True)
class PaperRow:
    """One cell of a table or one bar of a figure of the paper.

    Attributes:
        name: The point, e.g. the method.
        paper: The paper's number as printed, or –.
        measured: Mean over seeds with its interval, in the paper's unit.
        change: Difference to the first row, paired by seed, in the paper's unit.
        spread: Standard deviation over the probe's initializations, which the paper prints after
            ±; mean over seeds, with n = 0 if it was not measured.
    """

    name: str
    paper: str
    measured: Estimate
    change: Estimate
    spread: Estimate


def compare_with_paper(comparison: Comparison, reproduction: Reproduction) -> list[PaperRow]:
    """Make a row for each point in the sweep's order; none if the paper gives no metric."""
    metric = reproduction.metric
    if metric is None:
        return []
    scale, digits = (100.0, 2) if reproduction.percent else (1.0, 3)
    points = comparison.points()
    first = comparison.values(points[0], metric)
    rows = []
    for point in points:
        values = comparison.values(point, metric)
        differences = (values - first).dropna() if point != points[0] else values.iloc[:0]
        spreads = comparison.values(point, _spread(metric))
        rows.append(
            PaperRow(
                point_name(comparison.axes, point),
                _printed(reproduction, _variant(comparison, point)),
                estimate((scale * values).tolist(), digits),
                estimate((scale * differences).tolist(), digits),
                estimate((scale * spreads).tolist(), digits),
            )
        )
    return rows


def _variant(comparison: Comparison, point: Point) -> str:
    """Return the name of a point's method; empty in a sweep without methods."""
    axes = comparison.axes
    return str(point[axes.index(VARIANT)]) if VARIANT in axes else ""


def _spread(metric: str) -> str:
    """Name a probe's spread: ``encoder/paper_probe_spread`` for ``…_probe_accuracy``."""
    return metric.removesuffix("accuracy").removesuffix("top5") + "spread"


def _printed(reproduction: Reproduction, variant: str) -> str:
    """Format the paper's number as ``90.98 ± 0.10``."""
    if variant not in reproduction.values:
        return "–"
    value, spread = reproduction.values[variant]
    return f"{value:.2f}" if spread is None else f"{value:.2f} ± {spread:.2f}"
