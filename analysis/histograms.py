"""Histograms of cosines, a panel a method, as densities (Figs 6, 11, 13, 15)."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.comparison import Point
from analysis.details import Array
from analysis.figure_data import FigureData, seeds_text
from analysis.style import INK, SMALL, STYLE, method_color, use_style

# Peaks that differ by more than this are not shown on one scale: the lower ones would be flat.
_SHARED = 4.0
_COLUMNS = 3
_HEADROOM = 1.3


def draw_histograms(data: FigureData, known: dict[Point, dict[int, Array]]) -> tuple[Figure, str]:
    """Draw a panel for each point, with its seeds pooled.

    Args:
        data: The sweep.
        known: Counts [B] by point and seed, at least one.

    Returns:
        The figure, and a sentence for the caption about its scales.
    """
    edges = {point: _edges(data, point) for point in known}
    densities = {
        point: density(np.sum(list(counts.values()), axis=0), edges[point])
        for point, counts in known.items()
    }
    peaks = [float(values.max()) for values in densities.values()]
    shared = max(peaks) <= _SHARED * min(peaks)
    columns = min(_COLUMNS, len(known))
    rows = math.ceil(len(known) / columns)
    with use_style():
        figure = Figure(figsize=(3.1 * columns, 0.3 + 2.3 * rows))
        panels = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
        for axes, (point, values) in zip(panels, densities.items(), strict=False):
            _panel(axes, values, edges[point], method_color(data.index(point)))
            top = max(peaks) if shared else float(values.max())
            axes.set_ylim(0, _HEADROOM * (top or 1.0))
            axes.set_title(data.name(point))
            counted = sum(int(counts.sum()) for counts in known[point].values())
            text = f"{seeds_text({point: known[point]})}\n{counted:,} cosines"
            _corner(axes, text)
        for axes in panels[len(known) :]:
            axes.set_visible(False)
        figure.supxlabel("cosine", size=STYLE["font.size"])
        figure.supylabel("density", size=STYLE["font.size"])
    scale = "one vertical scale" if shared else "a vertical scale for each panel"
    return figure, f"Densities of all seeds' cosines together, on {scale}."


def density(counts: Array, edges: Array) -> Array:
    """Scale counts [B] of bins to a density of integral 1; without counts it is 0."""
    return np.asarray(counts / max(1, counts.sum()) / np.diff(edges))


def _edges(data: FigureData, point: Point) -> Array:
    return next(iter(data.details.get(point, "cosine/edges").values()))


def _corner(axes: Axes, text: str) -> None:
    look = {"facecolor": "white", "edgecolor": "none", "pad": 2.0}
    axes.text(
        0.03, 0.96, text, transform=axes.transAxes, va="top", size=SMALL, color=INK, bbox=look
    )


def _panel(axes: Axes, values: Array, edges: Array, fill: str) -> None:
    axes.stairs(values, edges, fill=True, color=fill, alpha=0.75, lw=0)
    axes.stairs(values, edges, color=fill, lw=1.0)
    axes.set_xlim(-1, 1)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
