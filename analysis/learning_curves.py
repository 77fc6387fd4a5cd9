"""The learning curves of a sweep's trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.comparison import Comparison, Point
from analysis.figures import add_legend, panel_grid
from analysis.hover import Titles, set_titles
from analysis.labels import CURVES, point_name
from analysis.style import method_color, method_dashes, use_style

_CURVE_PANELS = (
    "train/infonce",
    "heldout/uniformity",
    "heldout/positive_cosine",
    "heldout/gamma",
    "heldout/gamma_median",
    "heldout/equivariance",
    "heldout/knn_accuracy",
    "heldout/probe_accuracy",
    "heldout/encoder_rank",
    "heldout/head_rank",
)


def measured_curves(curves: pd.DataFrame) -> list[str]:
    """List the metrics of the report's learning curves that were measured."""
    return [name for name in _CURVE_PANELS if name in curves and curves[name].notna().any()]


def draw_over_epochs(
    comparison: Comparison,
    curves: pd.DataFrame,
    metrics: Sequence[str],
    points: Sequence[Point] | None = None,
) -> Figure:
    """Draw metrics over the epochs: a color for a point, thin lines for seeds, thick for means.

    Args:
        comparison: The points.
        curves: A row per epoch.
        metrics: At least one; a metric that was not measured leaves its panel empty.
        points: The points to draw; all when None.
    """
    points = comparison.points() if points is None else points
    styles, titles = _line_styles(comparison, len(points)), Titles(comparison)
    with use_style():
        width, height = (3.4, 2.6) if len(metrics) > 1 else (5.8, 3.2)
        figure, panels = panel_grid(len(metrics), width, height)
        curves_of = split_by_point(comparison, curves, points)
        for axes, metric in zip(panels, metrics, strict=True):
            for point, style in zip(points, styles, strict=True):
                curve = curves_of[point]
                if metric in curve and curve[metric].notna().any():
                    by_seed = curve.pivot_table(index="epoch", columns="seed", values=metric)
                    dot = "o" if len(by_seed) == 1 else "none"  # one epoch draws no line
                    thin = {"marker": dot, "ms": 3, "lw": 0.6, "alpha": 0.45, **style}
                    lines = axes.plot(by_seed.index, by_seed, **thin)
                    for line, seed in zip(lines if titles else (), by_seed, strict=False):
                        set_titles(line, [titles.title(point, int(str(seed)))])
                    mean = by_seed.mean(axis=1)
                    axes.plot(by_seed.index, mean, marker=dot, ms=5, lw=1.8, **style)
            axes.set_title(str(CURVES[metric]))
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        handles = [
            Line2D([], [], lw=2, label=point_name(comparison.axes, point), **style)
            for point, style in zip(points, styles, strict=True)
        ]
        add_legend(figure, handles)
    return figure


def split_by_point(
    comparison: Comparison, curves: pd.DataFrame, points: Sequence[Point]
) -> dict[Point, pd.DataFrame]:
    """Select the rows of the curves of each of ``points``."""
    rows: dict[Point, list[int]] = {point: [] for point in points}
    for row, point in enumerate(curves[comparison.axes].itertuples(index=False, name=None)):
        if point in rows:
            rows[point].append(row)
    return {point: curves.iloc[rows[point]] for point in points}


def _line_styles(comparison: Comparison, count: int) -> list[dict[str, Any]]:
    """Choose a line style for each point: a gradient for numbers, distinct colors for names."""
    if comparison.numeric:
        gradient = mpl.colormaps["viridis"](np.linspace(0, 0.9, count))
        return [{"color": tuple(shade)} for shade in gradient]
    return [
        {"color": method_color(index), "linestyle": method_dashes(index)} for index in range(count)
    ]
