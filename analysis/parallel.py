"""Sweeps of three axes or more: points as lines over all axes, and rank correlations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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
from analysis.levels import is_number
from analysis.statistics import Estimate, Trend, spearman
from analysis.style import STYLE, use_style

_MOST_LINES = 300
_MOST_TICKS = 8
_WIDE = 5.0  # ratio from which positive values are on a logarithmic scale
_GRAY = "#9aa0a6"
_MARGIN = 0.04


@dataclass(frozen=True)
class Importance:
    """The rank correlation of an axis with the sweep's metric.

    Attributes:
        axis: Its label.
        levels: Its number of levels.
        trend: Spearman's ρ over the points; n = 0 for an axis of names, which has no order.
    """

    axis: str
    levels: int
    trend: Trend

    @property
    def text(self) -> str:
        """The correlation as text."""
        if not self.trend.n:
            return "– (names have no order)"
        if np.isnan(self.trend.rho):
            return "–"
        return f"{self.trend.rho:+.2f} (n = {self.trend.n} points)".replace("-", "−")


def spread_axes(comparison: Comparison) -> list[str]:
    """List the axes of several levels."""
    return [axis for axis in comparison.axes if len(comparison.levels(axis)) > 1]


def rank_axes(comparison: Comparison) -> list[Importance]:
    """Rank the axes by the strength of their rank correlation with the sweep's metric.

    A value is the mean of a point that is not nearly collapsed. The correlation ignores the other
    axes: in a grid they are balanced, in a search they are not.
    """
    means = _means(comparison)
    ranked = []
    for axis in spread_axes(comparison):
        index, levels = comparison.axes.index(axis), comparison.levels(axis)
        trend = Trend(float("nan"), 0)
        if all(map(is_number, levels)):
            values = [mean.mean for mean in means.values()]
            trend = spearman([point[index] for point in means], values)
        ranked.append(Importance(axis_label(axis), len(levels), trend))
    return sorted(ranked, key=lambda one: -abs(np.nan_to_num(one.trend.rho)))


def _means(comparison: Comparison) -> dict[Point, Estimate]:
    collapsed = set(comparison.collapsed_points)
    means = {
        point: comparison.mean(point, comparison.metric)
        for point in comparison.points()
        if point not in collapsed
    }
    return {point: mean for point, mean in means.items() if mean.n}


def draw_parallel(comparison: Comparison) -> Figure | None:
    """Draw the points over all axes, colored by the metric; None without a measured point.

    Of many points the best are drawn. Nearly collapsed points are gray.
    """
    means = _means(comparison)
    if not means:
        return None
    ordered = sorted(means, key=lambda p: means[p].mean, reverse=comparison.mode == "max")
    best = ordered[:_MOST_LINES]
    gray = comparison.collapsed_points[: _MOST_LINES - len(best)]
    axes_names = spread_axes(comparison)
    values = [means[point].mean for point in best]
    scale = Normalize(min(values), max(values) if max(values) > min(values) else min(values) + 1)
    colors = mpl.colormaps["viridis_r" if comparison.mode == "min" else "viridis"]
    with use_style({**STYLE, "axes.grid": False}):
        width = min(10.0, 2.2 + 1.5 * len(axes_names))
        figure = Figure(figsize=(width, 3.6))
        axes = figure.subplots()
        scales = [_Scale(comparison, name) for name in axes_names]
        for point in [*gray, *reversed(best)]:
            ys = [one(point) for one in scales]
            color = colors(0.92 * scale(means[point].mean)) if point in means else _GRAY
            width = 2.6 if point == ordered[0] else 0.9
            (line,) = axes.plot(range(len(ys)), ys, color=color, lw=width, alpha=0.8)
            end = "nearly collapsed" if point not in means else means[point].value
            set_titles(line, [f"{point_name(comparison.axes, point)}: {end}"])
        for index, one in enumerate(scales):
            _draw_scale(axes, index, one)
        axes.set_xticks(range(len(scales)), [shorten(axis_label(name), 18) for name in axes_names])
        axes.set_yticks([])
        axes.set_xlim(-0.35, len(scales) - 0.55)
        axes.set_ylim(-_MARGIN, 1 + _MARGIN)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
        marks = mpl.cm.ScalarMappable(
            scale, mpl.colors.ListedColormap(colors(np.linspace(0, 0.92, 64)))
        )
        bar = figure.colorbar(marks, ax=axes, aspect=24, pad=0.02)
        bar.set_label(short_metric_label(comparison.metric))
        bar.outline.set_visible(False)
    return figure


class _Scale:
    """Heights in [0, 1] of an axis's levels: logarithmic, linear, or evenly spaced."""

    def __init__(self, comparison: Comparison, axis: str) -> None:
        self.index = comparison.axes.index(axis)
        levels = comparison.levels(axis)
        numeric = all(map(is_number, levels))
        positive = [level for level in levels if numeric and level > 0]
        log = numeric and positive and min(levels) >= 0 and max(positive) / min(positive) > _WIDE
        if log:
            floor = np.log10(min(positive)) - 0.5
            raw = {level: float(np.log10(level)) if level > 0 else floor for level in levels}
        else:
            raw = {level: float(level) if numeric else i for i, level in enumerate(levels)}
        low, high = min(raw.values()), max(raw.values())
        span = (high - low) or 1.0
        self._heights = {level: (value - low) / span for level, value in raw.items()}
        self.ticks: dict[Any, float]
        if numeric and len(levels) > _MOST_TICKS:
            ticks = _round_values(low, high, log=bool(log))
            self.ticks = {level: (value - low) / span for level, value in ticks.items()}
        else:
            step = -(-len(levels) // _MOST_TICKS)
            self.ticks = {level: self._heights[level] for level in [*levels[::step], levels[-1]]}

    def __call__(self, point: Point) -> float:
        return self._heights[point[self.index]]


def _round_values(low: float, high: float, *, log: bool) -> dict[float, float]:
    """Map round values within an axis's range to their positions."""
    if log:
        decades = range(math.floor(low), math.ceil(high) + 1)
        fine = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
        known = {value: math.log10(value) for value in fine if low <= math.log10(value) <= high}
        few = {value: at for value, at in known.items() if at == round(at)}
        return known if len(known) <= _MOST_TICKS else few
    values = MaxNLocator(5).tick_values(low, high)
    return {float(value): float(value) for value in values if low <= value <= high}


def _draw_scale(axes: Axes, x: int, scale: _Scale) -> None:
    axes.plot([x, x], [0, 1], color="#555555", lw=1.0, zorder=3)
    last = -1.0
    for level, height in sorted(scale.ticks.items(), key=lambda item: item[1]):
        if height - last < 0.055:
            continue
        last = height
        axes.plot([x - 0.015, x], [height, height], color="#555555", lw=1.0, zorder=3)
        text = shorten(value_label(level), 12)
        look = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.75}
        axes.text(x - 0.03, height, text, ha="right", va="center", size=7.5, bbox=look, zorder=4)


def describe_parallel(comparison: Comparison) -> str:
    """Describe the picture in words: the best point, and how each axis goes with the metric."""
    means = _means(comparison)
    choose = max if comparison.mode == "max" else min
    best = choose(means, key=lambda point: means[point].mean)
    ranks = "; ".join(f"{one.axis} {one.text}" for one in rank_axes(comparison))
    name = point_name(comparison.axes, best)
    return (
        f"{len(means)} points over {len(spread_axes(comparison))} axes, colored by "
        f"{metric_label(comparison.metric)}; {name} has {means[best].value}. "
        f"Rank correlations: {ranks}."
    )
