"""Fig 7: the error of the linear readout against λ, or another axis of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.comparison import Point
from analysis.figure_data import Drawn, FigureData, Picture, not_measured
from analysis.figures import Positions, add_legend
from analysis.labels import SPACE_LABELS, axis_label, metric_label, point_name
from analysis.style import method_color, use_style

_CAPTION = "A dot is a seed, the line the mean, a bar the 95 % t-interval over seeds."
_HOLLOW = " A hollow dot is a nearly collapsed trial."


def draw(data: FigureData) -> Drawn:
    """Draw the metric against the axis; an accuracy as its error in %, as in the paper."""
    comparison, metric = data.comparison, data.metric
    if not data.has_metric:
        return not_measured("The readout", metric_label(metric))
    positions = Positions(comparison)
    lines = comparison.lines()
    with use_style():
        figure = Figure(figsize=(5.2, 3.4))
        axes = figure.subplots()
        for index, line in enumerate(lines.values()):
            _line(axes, data, positions, line, method_color(index))
        axes.set_title(_title(metric))
        positions.dress(axes, axis_label(comparison.x))
        if len(lines) > 1:
            names = [point_name(comparison.line_axes, values) for values in lines]
            looks = [Line2D([], [], color=method_color(i), label=n) for i, n in enumerate(names)]
            add_legend(figure, looks)
    caption = _CAPTION + (_HOLLOW if comparison.collapsed_points else "")
    return Drawn([Picture("lambda", figure, caption)])


def _line(
    axes: Axes, data: FigureData, positions: Positions, line: list[Point], color: str
) -> None:
    comparison, metric = data.comparison, data.metric
    shown: Callable[[float], float] = _error if metric.endswith("accuracy") else float
    known = [(positions(point[0]), comparison.mean(point, metric), point) for point in line]
    known = [item for item in known if item[1].n]
    for x, mean, point in known:
        whole, collapsed = comparison.split_by_collapse(
            point, comparison.values(point, metric).map(shown)
        )
        axes.plot([x] * len(whole), whole, "o", ms=3.5, color=color, alpha=0.5, mew=0)
        if collapsed:
            (hollow,) = axes.plot([x] * len(collapsed), collapsed, "o", ms=4.2, color=color)
            hollow.set_markerfacecolor("white")
        if not math.isnan(mean.low):
            axes.plot([x, x], [shown(mean.low), shown(mean.high)], color=color, lw=1.1)
    means = [shown(mean.mean) for _, mean, _ in known]
    axes.plot([x for x, _, _ in known], means, color=color, lw=1.7)


def _error(accuracy: float) -> float:
    return 100 * (1 - accuracy)


def _title(metric: str) -> str:
    if not metric.endswith("accuracy"):
        return metric_label(metric)
    return f"error of the linear readout, %, {SPACE_LABELS[metric.partition('/')[0]]}"
