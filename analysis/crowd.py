"""Measures of a sweep with too many points for lines and intervals: a dot a trial."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.comparison import Comparison
from analysis.figures import (
    TITLE_WIDTH,
    Positions,
    add_legend,
    make_handles,
    panel_grid,
    panel_label,
    panel_metrics,
    shown_measures,
)
from analysis.hover import Titles, set_titles
from analysis.labels import axis_label
from analysis.style import use_style
from care.config.metrics import COLLAPSE, COLLAPSE_METRIC

_MOST_LINES = 12
_MOST_POINTS = 200
_MOST_VECTORS = 1000  # trials; more are drawn as pixels, within the SVG too


def is_crowded(comparison: Comparison) -> bool:
    """Check whether lines and intervals of every point would hide each other."""
    return len(comparison.lines()) > _MOST_LINES or len(comparison.points()) > _MOST_POINTS


def draw_crowd(comparison: Comparison) -> Figure:
    """Draw each measure of each finished trial against the axis, without means."""
    measures, positions = shown_measures(comparison), Positions(comparison)
    titles = Titles(comparison)
    done = comparison.done
    x = np.array([positions(level) for level in done[comparison.x]], dtype=float)
    keys = list(done[[*comparison.axes, "seed"]].itertuples(index=False, name=None))
    collapsed = np.zeros(len(done), dtype=bool)
    if COLLAPSE_METRIC in done:
        collapsed = (done[COLLAPSE_METRIC] >= COLLAPSE).to_numpy(bool)
    full: dict[str, Any] = {"ms": 3.4, "alpha": 0.55, "mew": 0}
    looks = ((~collapsed, full), (collapsed, {**full, "mfc": "white", "mew": 0.8}))
    with use_style():
        figure, panels = panel_grid(len(measures))
        for axes, measure in zip(panels, measures, strict=True):
            for metric, color in panel_metrics(measure).items():
                if metric not in done:
                    continue
                y = done[metric].to_numpy(float)
                for chosen, look in looks:
                    (kept,) = np.nonzero(chosen & np.isfinite(y))
                    if not len(kept):
                        continue
                    (dots,) = axes.plot(x[kept], y[kept], "o", color=color, **look)
                    dots.set_rasterized(len(done) > _MOST_VECTORS)
                    if titles:
                        points = [(keys[row][:-1], int(keys[row][-1]), y[row]) for row in kept]
                        set_titles(dots, [titles.title(*one) for one in points])
            axes.set_title(textwrap.fill(str(panel_label(measure)), TITLE_WIDTH))
            positions.dress(axes, axis_label(comparison.x))
        add_legend(figure, make_handles(comparison, lines=False))
    return figure
