"""The figure of a Pareto front: each pair of objectives, with intervals over seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import add_legend, limits, panel_grid
from analysis.front import FrontRow
from analysis.hover import set_titles
from analysis.labels import short_metric_label
from analysis.pareto import Objective
from analysis.statistics import Estimate
from analysis.style import use_style

_FRONT, _REST = "#D55E00", "#777777"
_MOST_PAIRS = 6
_MOST_INTERVALS = 60  # points; the intervals of more hide each other


def list_pairs(objectives: Sequence[Objective]) -> list[tuple[int, int]]:
    """List the pairs of objectives that have a panel, by index."""
    return list(itertools.combinations(range(len(objectives)), 2))[:_MOST_PAIRS]


def draw_front(objectives: Sequence[Objective], rows: Sequence[FrontRow]) -> Figure:
    """Draw every compared point in a panel for each pair of objectives."""
    pairs = list_pairs(objectives)
    with use_style():
        figure, panels = panel_grid(len(pairs), 4.4, 3.4)
        for axes, (x, y) in zip(panels, pairs, strict=True):
            for row in (row for row in rows if not row.first):
                _draw_point(axes, row, x, y, intervals=len(rows) <= _MOST_INTERVALS)
            _draw_line(axes, [row for row in rows if row.first], objectives, x, y)
            for row in (row for row in rows if row.first):
                _draw_point(axes, row, x, y, intervals=True)
            across, up = ([row.cells[side] for row in rows] for side in (x, y))
            axes.set_xlim(limits([cell.mean for cell in across], across))
            axes.set_ylim(limits([cell.mean for cell in up], up))
            axes.set_xlabel(_label(objectives[x]))
            axes.set_ylabel(_label(objectives[y]))
        add_legend(
            figure,
            [
                Line2D([], [], color=_FRONT, marker="o", ms=5, ls=":", label="Pareto front"),
                Line2D([], [], color=_REST, marker="o", ms=4, ls="none", label="other points"),
            ],
        )
    return figure


def _label(objective: Objective) -> str:
    arrow = "↑" if objective.mode == "max" else "↓"
    return f"{short_metric_label(objective.metric)} {arrow}"


def _draw_point(axes: Axes, row: FrontRow, x: int, y: int, *, intervals: bool) -> None:
    color = _FRONT if row.first else _REST
    across, up = row.cells[x], row.cells[y]
    if intervals:
        look: dict[str, Any] = {"color": color, "lw": 1.1, "alpha": 0.8 if row.first else 0.35}
        if not math.isnan(across.low):
            axes.plot([across.low, across.high], [up.mean] * 2, **look)
        if not math.isnan(up.low):
            axes.plot([across.mean] * 2, [up.low, up.high], **look)
    (dot,) = axes.plot(
        [across.mean], [up.mean], "o", color=color, ms=5.5 if row.first else 4, mew=0, zorder=3
    )
    set_titles(dot, [f"{row.name}: {_text(across)}, {_text(up)}"])


def _text(cell: Estimate) -> str:
    return f"{cell.value} ({cell.interval})"


def _draw_line(
    axes: Axes, rows: Sequence[FrontRow], objectives: Sequence[Objective], x: int, y: int
) -> None:
    """Draw the border of what the front dominates, as steps; with two objectives only."""
    if len(objectives) > 2 or len(rows) < 2:
        return
    dots = sorted((row.cells[x].mean, row.cells[y].mean) for row in rows)
    # The steps turn on the side of the worse values.
    where: Literal["post", "pre"] = "post" if objectives[x].mode == "min" else "pre"
    axes.step(*zip(*dots, strict=True), where=where, color=_FRONT, lw=1.4, ls=":")


def describe_front_figure(objectives: Sequence[Objective], rows: Sequence[FrontRow]) -> list[str]:
    """Describe each panel for a reader who does not see it."""
    front = [row for row in rows if row.first]
    texts = []
    for x, y in list_pairs(objectives):
        points = "; ".join(
            f"{row.name}: {row.cells[x].value}, {row.cells[y].value}" for row in front[:8]
        )
        texts.append(
            f"{short_metric_label(objectives[y].metric)} against "
            f"{short_metric_label(objectives[x].metric)} of {len(rows)} points. "
            f"Pareto front: {points}"
        )
    return texts
