"""Bar charts of a measure, a bar a point (Figs 4, 10)."""

from __future__ import annotations

import math
import textwrap

from matplotlib.figure import Figure

from analysis.figure_data import Drawn, FigureData, Picture, not_measured
from analysis.labels import metric_label
from analysis.style import INK, method_color, use_style

_TITLE_WIDTH = 48  # characters that fit the narrowest picture
_CAPTION = "A bar is the mean over seeds, a dot a seed, a line the 95 % t-interval."
_HOLLOW = " A hollow dot is a nearly collapsed trial."


def draw_bars(data: FigureData, name: str) -> Drawn:
    """Draw the mean, each seed and the 95 % interval of the figure's metric.

    Args:
        data: The sweep.
        name: The picture's name.
    """
    comparison, metric = data.comparison, data.metric
    if not data.has_metric:
        return not_measured("The bar chart", metric_label(metric))
    scale = 100.0 if data.reproduction.percent else 1.0
    points = comparison.points()
    with use_style():
        figure = Figure(figsize=(max(4.8, 1.6 + 0.9 * len(points)), 3.6))
        axes = figure.subplots()
        for index, point in enumerate(points):
            mean = comparison.mean(point, metric)
            if not mean.n:
                continue
            axes.bar(index, scale * mean.mean, 0.62, color=method_color(index), alpha=0.75)
            values, hollow = comparison.split_by_collapse(
                point, scale * comparison.values(point, metric)
            )
            axes.plot([index] * len(values), values, "o", ms=3.5, color=INK, mew=0)
            if hollow:
                axes.plot([index] * len(hollow), hollow, "o", ms=4.2, color=INK, mfc="white")
            if not math.isnan(mean.low):
                interval = [scale * mean.low, scale * mean.high]
                axes.plot([index, index], interval, color=INK, lw=1.1)
        names = [data.name(point) for point in points]
        axes.set_xticks(range(len(points)), names, rotation=25, ha="right", rotation_mode="anchor")
        axes.set_xlim(-0.6, len(points) - 0.4)
        title = metric_label(metric) + (", %" if data.reproduction.percent else "")
        axes.set_title(textwrap.fill(title, _TITLE_WIDTH))
    caption = _CAPTION + (_HOLLOW if comparison.collapsed_points else "")
    return Drawn([Picture(name, figure, caption)])
