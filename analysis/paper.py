"""The paper's numbers beside the measured ones."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.comparison import Comparison
from analysis.labels import point_name
from analysis.statistics import Estimate, estimate
from analysis.summary import Reproduction


@dataclass(frozen=True)
class PaperRow:
    """One cell of a table or one bar of a figure.

    Attributes:
        name: The point, e.g. the method.
        paper: The paper's number as printed, or –.
        measured: Mean over seeds with its interval, in the paper's unit.
        change: Difference to the first row, paired by seed, in the paper's unit.
    """

    name: str
    paper: str
    measured: Estimate
    change: Estimate


def paper_rows(comparison: Comparison, reproduction: Reproduction) -> list[PaperRow]:
    """A row for each point in the order of the sweep; none where the measure is not known."""
    if reproduction.metric is None:
        return []
    scale = 100.0 if reproduction.percent else 1.0
    points = comparison.points()
    first = comparison.values(points[0], reproduction.metric)
    rows = []
    for point in points:
        values = comparison.values(point, reproduction.metric)
        differences = (values - first).dropna() if point != points[0] else values.iloc[:0]
        rows.append(
            PaperRow(
                point_name(comparison.axes, point),
                _printed(reproduction, str(point[0])),
                estimate((scale * values).tolist()),
                estimate((scale * differences).tolist()),
            )
        )
    return rows


def _printed(reproduction: Reproduction, variant: str) -> str:
    """``90.98 ± 0.10``, as in the paper."""
    if variant not in reproduction.values:
        return "–"
    value, spread = reproduction.values[variant]
    return f"{value:.2f}" if spread is None else f"{value:.2f} ± {spread:.2f}"
