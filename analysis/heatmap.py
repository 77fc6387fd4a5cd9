"""Heat maps of a grid over two axes: a cell a point, with its mean and number of seeds."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.comparison import Comparison, Point
from analysis.hover import set_titles
from analysis.labels import (
    axis_label,
    metric_label,
    point_name,
    short_metric_label,
    shorten,
    value_label,
)
from analysis.style import INK, STYLE, use_style
from care.trials.state import State

_MOST_LEVELS = 16
_FULL = 0.6  # smallest share of a grid's cells that have a point
_CELL = (0.62, 0.44)  # width and height of a cell, inches
_LEFT, _BELOW = 0.9, 0.85  # space for labels, inches
_COLORS = mpl.colormaps["viridis"]
_DARK = 0.55  # luminance below which a cell's text is white
_EMPTY = "#e6e6e6"


@dataclass(frozen=True)
class Grid:
    """The two axes of a heat map.

    Attributes:
        x: The axis on x.
        y: The axis on y.
        cells: The point of each (level on x, level on y).
    """

    x: str
    y: str
    cells: dict[tuple[object, object], Point]


def find_grid(comparison: Comparison) -> Grid | None:
    """Find the two axes of a sweep that has two of several levels, and most of their cells."""
    several = [axis for axis in comparison.axes if len(comparison.levels(axis)) > 1]
    if len(several) != 2:
        return None
    columns, rows = (comparison.levels(axis) for axis in several)
    if max(len(columns), len(rows)) > _MOST_LEVELS:
        return None
    first, second = (comparison.axes.index(axis) for axis in several)
    cells = {(point[first], point[second]): point for point in comparison.points()}
    if len(cells) < _FULL * len(columns) * len(rows):
        return None
    return Grid(several[0], several[1], cells)


def draw_heatmap(comparison: Comparison, grid: Grid, metrics: list[str]) -> Figure:
    """Draw a panel for each metric; a cell without a mean says why.

    Args:
        comparison: The trials.
        grid: Its axes.
        metrics: One or more that are measured.
    """
    columns, rows = comparison.levels(grid.x), comparison.levels(grid.y)
    width = _LEFT + _CELL[0] * max(4, len(columns))
    height = _BELOW + _CELL[1] * max(3, len(rows))
    look = {
        **STYLE,
        "axes.grid": False,
        "axes.spines.left": False,
        "axes.spines.bottom": False,
        "hatch.linewidth": 0.5,
    }
    with use_style(look):
        across = max(1, min(len(metrics), int(10 / width)))
        down = -(-len(metrics) // across)
        figure = Figure(figsize=(across * width, down * height))
        panels = figure.subplots(down, across, squeeze=False).flatten().tolist()
        for spare in panels[len(metrics) :]:
            spare.set_visible(False)
        for axes, metric in zip(panels, metrics, strict=False):
            _draw_cells(axes, comparison, grid, metric)
            axes.set_title(short_metric_label(metric))
            axes.set_xticks(range(len(columns)), [shorten(value_label(v), 12) for v in columns])
            axes.set_yticks(range(len(rows)), [shorten(value_label(v), 16) for v in rows])
            axes.set_xlabel(shorten(axis_label(grid.x)))
            axes.set_ylabel(shorten(axis_label(grid.y)))
            axes.tick_params(length=0)
            axes.set_xlim(-0.5, len(columns) - 0.5)
            axes.set_ylim(-0.5, len(rows) - 0.5)
    return figure


def _draw_cells(axes: Axes, comparison: Comparison, grid: Grid, metric: str) -> None:
    means = {point: comparison.mean(point, metric) for point in grid.cells.values()}
    known = [mean.mean for mean in means.values() if mean.n]
    low, high = min(known), max(known)
    for column, level in enumerate(comparison.levels(grid.x)):
        for row, other in enumerate(comparison.levels(grid.y)):
            point = grid.cells.get((level, other))
            corner = (column - 0.5, row - 0.5)
            cell = Rectangle(corner, 1, 1, facecolor=_EMPTY, edgecolor="white", lw=1.5)
            color = INK
            if point is not None and means[point].n:
                shade = _COLORS((means[point].mean - low) / ((high - low) or 1.0))
                cell.set_facecolor(shade)
                color = "white" if _luminance(shade) < _DARK else INK
                if comparison.collapsed_seeds(point):
                    cell.set(hatch="///", edgecolor="white", lw=1.0)
            title = _describe_cell(comparison, point, metric)
            axes.add_patch(cell)
            set_titles(cell, [title] if title else [], keep_colors=True)
            text = axes.text(
                column, row, _label(comparison, point, metric), size=7, color=color,
                ha="center", va="center", linespacing=1.25,
                bbox={"facecolor": cell.get_facecolor(), "edgecolor": "none", "pad": 0.6},
            )  # fmt: skip
            set_titles(text, [title] if title else [], keep_colors=True)


def _luminance(color: tuple[float, float, float, float]) -> float:
    red, green, blue, _ = color
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _label(comparison: Comparison, point: Point | None, metric: str) -> str:
    """Return a cell's text: mean and number of seeds, or the reason for neither."""
    if point is None:
        return "not\ndeclared"
    mean = comparison.mean(point, metric)
    if not mean.n:
        failed = count_failed(comparison, point)
        return f"{failed} failed" if failed else "–"
    mark = "⚠ " if comparison.collapsed_seeds(point) else ""
    planned = len(comparison.trial_ids(point))
    return f"{mark}{mean.value}\nn = {mean.n}" + (f" of {planned}" if mean.n < planned else "")


def _describe_cell(comparison: Comparison, point: Point | None, metric: str) -> str:
    if point is None:
        return ""
    mean = comparison.mean(point, metric)
    text = f"{point_name(comparison.axes, point)}: {mean.value} ({mean.interval})"
    if seeds := comparison.collapsed_seeds(point):
        text += f", nearly collapsed: {len(seeds)}"
    if failed := count_failed(comparison, point):
        text += f", failed: {failed}"
    return text


def count_failed(comparison: Comparison, point: Point) -> int:
    """Count the failed trials of a point."""
    trials = comparison.trials
    failed = trials[trials["state"] == State.FAILED]
    return int(failed["trial_id"].isin(comparison.trial_ids(point)).sum())


def describe_heatmap(comparison: Comparison, grid: Grid, metrics: list[str]) -> list[str]:
    """Describe each panel in words: the smallest and the largest mean."""
    texts = []
    for metric in metrics:
        means = {p: comparison.mean(p, metric) for p in grid.cells.values()}
        known = {point: mean for point, mean in means.items() if mean.n}
        low, high = (choose(known, key=lambda p: known[p].mean) for choose in (min, max))
        ends = [f"{known[p].value} at {point_name(comparison.axes, p)}" for p in (low, high)]
        axes = f"over {axis_label(grid.x)} and {axis_label(grid.y)}"
        texts.append(f"{metric_label(metric)}, {axes}: from {ends[0]} to {ends[1]}.")
    return texts
