"""Figures in words, for readers who do not see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from analysis.comparison import Comparison, Point
from analysis.figures import panel_label, panel_metrics, shown_measures
from analysis.labels import CURVES, SPACE_LABELS, axis_label, point_name
from analysis.learning_curves import split_by_point
from analysis.statistics import Estimate

_MOST_POINTS = 6  # named one by one; of more, the smallest and the largest mean
_MOST_CURVES = 3


def describe_measures(comparison: Comparison) -> list[str]:
    """Describe each panel of :func:`analysis.figures.draw_measures`: the means by point."""
    return _describe_panels(comparison, comparison.mean, "")


def describe_differences(comparison: Comparison) -> list[str]:
    """Describe each panel of :func:`analysis.figures.draw_differences`."""
    return _describe_panels(
        comparison, comparison.difference, "Paired difference to the baseline: "
    )


def _describe_panels(
    comparison: Comparison, mean: Callable[[Point, str], Estimate], start: str
) -> list[str]:
    collapsed = [point_name(comparison.axes, point) for point in comparison.collapsed_points]
    warning = f" Nearly collapsed: {_list(collapsed)}." if collapsed else ""
    texts = []
    for panel in shown_measures(comparison):
        lines = [
            f"{SPACE_LABELS.get(metric.partition('/')[0], 'mean')}: {values}"
            for metric in panel_metrics(panel)
            if (values := _describe_means(comparison, metric, mean))
        ]
        title = f"{start}{panel_label(panel)}, against {axis_label(comparison.x)}."
        texts.append(f"{title} {'; '.join(lines)}.{warning}")
    return texts


def _describe_means(
    comparison: Comparison, metric: str, mean: Callable[[Point, str], Estimate]
) -> str:
    means = {point: mean(point, metric) for point in comparison.points()}
    known = {point: one for point, one in means.items() if one.n}
    if not known:
        return ""
    if len(known) > _MOST_POINTS:
        low, high = (choose(known, key=lambda p: known[p].mean) for choose in (min, max))
        ends = (f"{known[end].value} at {point_name(comparison.axes, end)}" for end in (low, high))
        return f"{len(known)} points, from {' to '.join(ends)}"
    return ", ".join(
        f"{one.value} at {point_name(comparison.axes, point)}" for point, one in known.items()
    )


def describe_curves(
    comparison: Comparison, curves: pd.DataFrame, metrics: Sequence[str], points: Sequence[Point]
) -> list[str]:
    """Describe each panel of learning curves: the means of the first and the last epoch."""
    curves_of = split_by_point(comparison, curves, points)
    shown = points if len(points) <= _MOST_CURVES else [points[0], points[-1]]
    texts = []
    for metric in metrics:
        parts = []
        for point in shown:
            means = curves_of[point].groupby("epoch")[metric].mean().dropna()
            if len(means):
                ends = f"from {means.iloc[0]:.3g} to {means.iloc[-1]:.3g}"
                parts.append(f"{point_name(comparison.axes, point)} {ends}")
        texts.append(f"{CURVES[metric]}, over the epochs: {'; '.join(parts)}.")
    return texts


def _list(names: Sequence[str]) -> str:
    more = len(names) - _MOST_POINTS
    return ", ".join(names[:_MOST_POINTS]) + (f" and {more} more" if more > 0 else "")
