"""The report's figures."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.comparison import Comparison, Point
from analysis.labels import (
    CURVES,
    SPACES,
    VARIANT,
    Label,
    axis_label,
    measure_label,
    metric_label,
    point_name,
    short,
    value_label,
)
from analysis.statistics import Estimate
from analysis.style import STYLE, method_color, method_dashes

_SPACE_COLORS = {"encoder": "#E69F00", "head": "#0072B2"}
_ONE_COLOR = "#444444"  # of a metric that belongs to no space
_MARKERS = "osD^vP"
_STYLES = ("-", "--", ":", "-.")
_PANELS = (
    "gamma",
    "wahba_per_sqrt_n",
    "composition",
    "hue_r2",
    "color_following",
    "axis_error",
    "probe_accuracy",
    "knn_accuracy",
    "gamma_median",
)
_CURVE_PANELS = (
    "train/infonce",
    "heldout/uniformity",
    "heldout/positive_cosine",
    "heldout/gamma",
    "heldout/gamma_median",
    "heldout/equivariance",
)
_HANDLE, _LETTER = 0.62, 0.075  # inches that a legend's line and a letter take
_BESIDE = 0.13  # of the step between names: the two spaces stand side by side
_APART = 0.2  # of that step: the lines of one space stand side by side
_ZERO_GAP = 0.7  # decades between 0 and the smallest positive value
_TICK_GAP = 0.09  # of the axis: numbers that stand closer overlap
_NAME_STEP = 0.24  # inches that a slanted name takes
_TITLE_WIDTH = 36  # characters that fit a panel
_LEGEND_LINE = 0.19  # inches
_LONGEST_ENTRY = 48
_FREE_LINES = 2  # of a legend that a figure has room for
_WIDEST = 10.0  # inches


class Positions:
    """Where the values of the axis on x stand: a log axis with 0 set apart, or even steps."""

    def __init__(self, comparison: Comparison) -> None:
        values = list(dict.fromkeys(point[0] for point in comparison.points()))
        positive = [value for value in values if comparison.numeric and value > 0]
        spread = bool(positive) and max(positive) / min(positive) > 5
        self.log = spread and all(value >= 0 for value in values)
        self.zero = self.log and 0 in values
        self._even = {value: place for place, value in enumerate(values)}
        self.numeric = comparison.numeric
        self._least = min(positive) if positive else 1.0
        self.values = values

    def __call__(self, value: float | str) -> float:
        """The place of a value."""
        if self.log:
            if value == 0:
                return math.log10(self._least) - _ZERO_GAP
            return math.log10(float(value))
        return float(value) if self.numeric else self._even[value]

    def dress(self, axes: Axes, label: str) -> None:
        """Put ticks and label on an axis."""
        places = [self(value) for value in self.values]
        names = [short(value_label(value)) for value in self.values]
        if self.numeric:
            axes.set_xticks(places, _apart(places, names))
            axes.set_xlabel(short(label))
        else:  # names say what they are, and are longer than their step
            axes.set_xticks(places, names)
            axes.set_xlim(-0.5, len(names) - 0.5)
            axes.tick_params(axis="x", rotation=35, rotation_mode="xtick")
            if label != axis_label(VARIANT):  # names of methods say what they are
                axes.set_xlabel(short(label))
        if self.zero:
            self._break(axes, (places[0] + places[1]) / 2)

    @staticmethod
    def _break(axes: Axes, place: float) -> None:
        """Two strokes across the axis where it leaves out the way to 0."""
        transform = axes.get_xaxis_transform()
        for shift in (-0.035, 0.035):
            axes.plot(
                [place + shift - 0.03, place + shift + 0.03],
                [-0.02, 0.02],
                transform=transform,
                color="#333333",
                lw=0.9,
                clip_on=False,
                zorder=5,
            )


def _apart(places: list[float], names: list[str]) -> list[str]:
    """Return the names without those that would stand on the one before."""
    reach = (max(places) - min(places)) or 1.0
    shown, last = list(names), -math.inf
    for index in sorted(range(len(places)), key=places.__getitem__):
        if places[index] - last < _TICK_GAP * reach:
            shown[index] = ""
        else:
            last = places[index]
    return shown


def _panel_grid(count: int, width: float = 3.3, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    fitting = max(1, int(_WIDEST / width))
    columns = min(2 if count == 4 else 3, count, fitting)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows))
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for spare in axes[count:]:
        spare.set_visible(False)
    return figure, axes[:count]


def shown_measures(comparison: Comparison) -> list[str]:
    """The panels of which there is a value: the sweep's metric, then measures.

    Returns:
        Names of measures, each for both spaces; or of a metric that belongs to no space.
    """
    measured, metric = comparison.measured(), comparison.metric
    space, _, measure = metric.partition("/")
    first = [measure if space in SPACES else metric] if comparison.has_values(metric) else []
    names = [name for name in _PANELS if any(f"{space}/{name}" in measured for space in SPACES)]
    return list(dict.fromkeys([*first, *names]))


def _panel_metrics(panel: str) -> dict[str, str]:
    """The metrics of a panel and their colors."""
    if "/" in panel:
        return {panel: _ONE_COLOR}
    return {f"{space}/{panel}": color for space, color in _SPACE_COLORS.items()}


def _panel_label(panel: str) -> Label:
    if "/" in panel:
        name = metric_label(panel)
        return CURVES.get(panel, Label(name, short=name))
    return measure_label(panel)


def measures_figure(comparison: Comparison) -> Figure:
    """Each measure against the axis: a dot a seed, mean and 95 % interval, both spaces."""
    return _against_axis(
        comparison,
        seeds=comparison.values,
        mean=comparison.mean,
        title=str,
        zero_line=False,
    )


def differences_figure(comparison: Comparison) -> Figure:
    """Each measure's difference to the baseline, paired by seed."""
    return _against_axis(
        comparison,
        seeds=comparison.differences,
        mean=comparison.difference,
        title=lambda label: (
            f"Δ {label.short or label.title}" + (f" ({label.better})" if label.better else "")
        ),
        zero_line=True,
    )


def _against_axis(
    comparison: Comparison,
    *,
    seeds: Callable[[Point, str], pd.Series],
    mean: Callable[[Point, str], Estimate],
    title: Callable[[Label], str],
    zero_line: bool,
) -> Figure:
    measures = shown_measures(comparison)
    positions = Positions(comparison)
    with mpl.rc_context(STYLE):
        names = 0 if positions.numeric else len(positions.values)
        width = min(_WIDEST, max(3.3, _NAME_STEP * names))
        figure, panels = _panel_grid(len(measures), width, 3.0 if names else 2.6)
        for axes, measure in zip(panels, measures, strict=True):
            if zero_line:
                axes.axhline(0, color="#555555", lw=0.8)
            metrics = _panel_metrics(measure)
            for (metric, color), side in zip(metrics.items(), (-1, 1), strict=False):
                beside = 0 if positions.numeric or len(metrics) == 1 else side * _BESIDE
                lines = comparison.lines()
                apart = 0 if positions.numeric else _APART / len(lines)
                for place, line in enumerate(lines.values()):
                    shift = beside + apart * (place - (len(lines) - 1) / 2)
                    style = (color, _MARKERS[place % len(_MARKERS)], _STYLES[place % len(_STYLES)])
                    seeds_of = _hollow(comparison, seeds)
                    _draw_line(axes, positions, shift, line, metric, seeds_of, mean, style)
            axes.set_title(textwrap.fill(title(_panel_label(measure)), _TITLE_WIDTH))
            positions.dress(axes, axis_label(comparison.x))
        legend(figure, _handles(comparison))
    return figure


def _draw_line(
    axes: Axes,
    positions: Positions,
    shift: float,
    line: list[Point],
    metric: str,
    seeds: Callable[[Point, str], tuple[list[float], list[float]]],
    mean: Callable[[Point, str], Estimate],
    style: tuple[str, str, str],
) -> None:
    color, marker, dashes = style
    known = [(positions(point[0]) + shift, mean(point, metric), point) for point in line]
    known = [item for item in known if item[1].n]
    for place, _, point in known:
        whole, hollow = seeds(point, metric)
        axes.plot([place] * len(whole), whole, marker, ms=3.2, color=color, alpha=0.45, mew=0)
        axes.plot([place] * len(hollow), hollow, marker, ms=4.2, color=color, mfc="white", mew=0.9)
    places = [place for place, _, _ in known]
    middles = [found.mean for _, found, _ in known]
    if positions.numeric:
        axes.plot(places, middles, dashes, color=color, lw=1.6)
    else:  # nothing lies between two names
        axes.plot(places, middles, "_", color=color, ms=11, mew=1.8)
    for place, found, _ in known:
        if not math.isnan(found.low):
            axes.plot([place, place], [found.low, found.high], color=color, lw=1.2, alpha=0.8)


def _hollow(
    comparison: Comparison, seeds: Callable[[Point, str], pd.Series]
) -> Callable[[Point, str], tuple[list[float], list[float]]]:
    """Part a point's values into those of trials that are not next to collapse, and the others."""

    def parted(point: Point, metric: str) -> tuple[list[float], list[float]]:
        return comparison.parted(point, seeds(point, metric))

    return parted


def _handles(comparison: Comparison) -> list[Line2D]:
    handles = [
        Line2D([], [], color=color, marker="o", ms=4, label=SPACES[space])
        for space, color in _SPACE_COLORS.items()
    ]
    if comparison.collapsed_points:
        hollow = Line2D([], [], color=_ONE_COLOR, marker="o", ms=4.2, label="next to collapse")
        hollow.set_markerfacecolor("white")
        hollow.set_linestyle("none")
        handles.append(hollow)
    lines = list(comparison.lines())
    if len(lines) > 1:
        for place, values in enumerate(lines):
            label = point_name(comparison.axes[1:], values)
            look = Line2D([], [], color="#555555", ms=4, label=label)
            look.set_linestyle(_STYLES[place % len(_STYLES)])  # type: ignore[arg-type]
            look.set_marker(_MARKERS[place % len(_MARKERS)])
            handles.append(look)
    return handles


def legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Put a legend above the panels, in as many columns as fit; the figure grows by its lines."""
    for handle in handles:
        text = short(str(handle.get_label()), _LONGEST_ENTRY)
        # matplotlib leaves out what begins with an underscore.
        handle.set_label(f" {text}" if text.startswith("_") else text)
    longest = max(len(str(handle.get_label())) for handle in handles)
    fitting = int(figure.get_figwidth() / (_HANDLE + _LETTER * longest))
    columns = max(1, min(len(handles), fitting))
    lines = math.ceil(len(handles) / columns)
    more = _LEGEND_LINE * max(0, lines - _FREE_LINES)
    figure.set_figheight(figure.get_figheight() + more)
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)


def curves_figure(comparison: Comparison, curves: pd.DataFrame) -> Figure | None:
    """Metrics over the epochs; None where none of them was measured."""
    names = [name for name in _CURVE_PANELS if name in curves and curves[name].notna().any()]
    return over_epochs(comparison, curves, names) if names else None


def over_epochs(comparison: Comparison, curves: pd.DataFrame, metrics: Sequence[str]) -> Figure:
    """Metrics over the epochs: thin lines are seeds, thick ones means, the color is the point.

    Args:
        comparison: The points.
        curves: A row an epoch.
        metrics: At least one; one that was not measured leaves its panel empty.
    """
    points = comparison.points()
    looks = _looks(comparison)
    with mpl.rc_context(STYLE):
        width, height = (3.4, 2.6) if len(metrics) > 1 else (5.8, 3.2)
        figure, panels = _panel_grid(len(metrics), width, height)
        rows = _rows(comparison, curves)
        for axes, metric in zip(panels, metrics, strict=True):
            for point, look in zip(points, looks, strict=True):
                here = rows[point]
                if metric in here and here[metric].notna().any():
                    by_seed = here.pivot_table(index="epoch", columns="seed", values=metric)
                    dot = "o" if len(by_seed) == 1 else "none"  # a line through one point is none
                    axes.plot(by_seed.index, by_seed, marker=dot, ms=3, lw=0.6, alpha=0.45, **look)
                    mean = by_seed.mean(axis=1)
                    axes.plot(by_seed.index, mean, marker=dot, ms=5, lw=1.8, **look)
            axes.set_title(str(CURVES[metric]))
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        handles = [
            Line2D([], [], lw=2, label=point_name(comparison.axes, point), **look)
            for point, look in zip(points, looks, strict=True)
        ]
        legend(figure, handles)
    return figure


def _rows(comparison: Comparison, curves: pd.DataFrame) -> dict[Point, pd.DataFrame]:
    """The epochs of each point."""
    places: dict[Point, list[int]] = {point: [] for point in comparison.points()}
    for place, point in enumerate(curves[comparison.axes].itertuples(index=False, name=None)):
        places[point].append(place)
    return {point: curves.iloc[here] for point, here in places.items()}


def _looks(comparison: Comparison) -> list[dict[str, Any]]:
    """A line's look for each point: along a number a gradient, for names colors far apart."""
    count = len(comparison.points())
    if comparison.numeric:
        gradient = mpl.colormaps["viridis"](np.linspace(0, 0.9, count))
        return [{"color": tuple(shade)} for shade in gradient]
    return [
        {"color": method_color(place), "linestyle": method_dashes(place)} for place in range(count)
    ]
