"""The paper's figures, drawn from a sweep's trials in the paper's layout."""

from __future__ import annotations

import math
from collections.abc import Callable

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.comparison import Comparison, Point
from analysis.figures import STYLE, Positions
from analysis.labels import CURVES, axis_label, metric_label, point_name
from analysis.summary import Reproduction

# Okabe and Ito's colors, told apart by color-blind readers too.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#555555", "#F0E442")
_TRAINING = ("heldout/alignment", "heldout/gamma")


def bars(comparison: Comparison, curves: pd.DataFrame, reproduction: Reproduction) -> Figure:
    """A bar for each method, a dot for each seed, the 95 % interval (Figs 4, 10)."""
    del curves
    metric = str(reproduction.metric)
    scale = 100.0 if reproduction.percent else 1.0
    points = comparison.points()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.6 + 0.9 * len(points), 3.4))
        axes = figure.subplots()
        for place, point in enumerate(points):
            found = comparison.mean(point, metric)
            if not found.n:
                continue
            axes.bar(place, scale * found.mean, 0.62, color=_color(place), alpha=0.75)
            values = scale * comparison.values(point, metric)
            axes.plot([place] * len(values), values, "o", ms=3.5, color="#222222", mew=0)
            if not math.isnan(found.low):
                interval = [scale * found.low, scale * found.high]
                axes.plot([place, place], interval, color="#222222", lw=1.1)
        axes.set_xticks(range(len(points)), _names(comparison, points), rotation=25, ha="right")
        axes.set_title(metric_label(metric))
    return figure


def sweep(comparison: Comparison, curves: pd.DataFrame, reproduction: Reproduction) -> Figure:
    """The error of the linear readout against the axis (Fig 7)."""
    del curves
    metric = str(reproduction.metric)
    positions = Positions(comparison)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.2))
        axes = figure.subplots()
        known = [(positions(p[0]), comparison.mean(p, metric), p) for p in comparison.points()]
        known = [item for item in known if item[1].n]
        for place, found, point in known:
            errors = 100 * (1 - comparison.values(point, metric))
            axes.plot([place] * len(errors), errors, "o", ms=3.5, color=_color(0), alpha=0.5, mew=0)
            if not math.isnan(found.low):
                interval = [100 * (1 - found.high), 100 * (1 - found.low)]
                axes.plot([place, place], interval, color=_color(0), lw=1.1)
        middles = [100 * (1 - found.mean) for _, found, _ in known]
        axes.plot([place for place, _, _ in known], middles, color=_color(0), lw=1.7)
        axes.set_title("error of the linear readout, %")
        positions.dress(axes, axis_label(comparison.x))
    return figure


def training(comparison: Comparison, curves: pd.DataFrame, reproduction: Reproduction) -> Figure:
    """L_inv and γ_f on held-out images over the training (Fig 8)."""
    del reproduction
    return _over_epochs(comparison, curves, _TRAINING)


def positives(comparison: Comparison, curves: pd.DataFrame, reproduction: Reproduction) -> Figure:
    """The mean cosine of positive pairs on held-out images over the training (Figs 12, 14, 16)."""
    del reproduction
    return _over_epochs(comparison, curves, ("heldout/positive_cosine",))


def _over_epochs(comparison: Comparison, curves: pd.DataFrame, metrics: tuple[str, ...]) -> Figure:
    points = comparison.points()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * len(metrics), 3.4))
        panels = figure.subplots(1, len(metrics), squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            for place, point in enumerate(points):
                here = curves[(curves[comparison.axes] == list(point)).all(axis=1)]
                by_seed = here.pivot_table(index="epoch", columns="seed", values=metric)
                axes.plot(by_seed.index, by_seed, color=_color(place), lw=0.6, alpha=0.5)
                label = point_name(comparison.axes, point) if axes is panels[0] else None
                mean = by_seed.mean(axis=1)
                axes.plot(mean.index, mean, color=_color(place), lw=1.8, label=label)
            axes.set_title(str(CURVES[metric]))
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside upper left", ncols=min(4, len(points)))
    return figure


def _names(comparison: Comparison, points: list[Point]) -> list[str]:
    return [point_name(comparison.axes, point) for point in points]


def _color(place: int) -> str:
    return _COLORS[place % len(_COLORS)]


Draw = Callable[[Comparison, pd.DataFrame, Reproduction], Figure]
FIGURES: dict[str, Draw] = {
    "bars": bars,
    "sweep": sweep,
    "curves": training,
    "cosine_curves": positives,
}
"""How a sweep that reproduces a figure is drawn; ``table`` has no picture."""
