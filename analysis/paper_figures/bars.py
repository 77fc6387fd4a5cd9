"""A bar for each method (Figs 4, 10)."""

from __future__ import annotations

import math
import textwrap

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis.labels import metric_label
from analysis.paper_figures.material import Drawn, Material, Picture, not_measured
from analysis.style import INK, STYLE, method_color

_TITLE_WIDTH = 48  # characters that fit the narrowest picture
_CAPTION = "A bar is the mean over seeds, a dot a seed, a line the 95 % t-interval."
_HOLLOW = " A hollow dot is a trial next to collapse."


def bars(material: Material) -> Drawn:
    """The metric's mean, each seed, and the 95 % interval."""
    comparison, metric = material.comparison, material.metric
    if not material.has_metric:
        return not_measured("The bar chart", metric_label(metric))
    scale = 100.0 if material.reproduction.percent else 1.0
    points = comparison.points()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(4.8, 1.6 + 0.9 * len(points)), 3.6))
        axes = figure.subplots()
        for place, point in enumerate(points):
            found = comparison.mean(point, metric)
            if not found.n:
                continue
            axes.bar(place, scale * found.mean, 0.62, color=method_color(place), alpha=0.75)
            values, hollow = comparison.split_by_collapse(
                point, scale * comparison.values(point, metric)
            )
            axes.plot([place] * len(values), values, "o", ms=3.5, color=INK, mew=0)
            if hollow:
                axes.plot([place] * len(hollow), hollow, "o", ms=4.2, color=INK, mfc="white")
            if not math.isnan(found.low):
                interval = [scale * found.low, scale * found.high]
                axes.plot([place, place], interval, color=INK, lw=1.1)
        names = [material.name(point) for point in points]
        axes.set_xticks(range(len(points)), names, rotation=25, ha="right", rotation_mode="anchor")
        axes.set_xlim(-0.6, len(points) - 0.4)
        title = metric_label(metric) + (", %" if material.reproduction.percent else "")
        axes.set_title(textwrap.fill(title, _TITLE_WIDTH))
    caption = _CAPTION + (_HOLLOW if comparison.collapsed_points else "")
    return Drawn([Picture("bars", figure, caption)])
