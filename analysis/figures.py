"""The report's figures."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.comparison import Comparison, Point
from analysis.hover import Titles, set_titles
from analysis.labels import (
    CURVES,
    SPACE_LABELS,
    VARIANT,
    Label,
    axis_label,
    measure_label,
    metric_label,
    point_name,
    shorten,
    value_label,
)
from analysis.statistics import Estimate
from analysis.style import use_style
from analysis.ticks import blank_overlapping, round_ticks
from care.registry import SPACES

_SPACE_COLORS = {"encoder": "#E69F00", "head": "#0072B2"}
_ONE_COLOR = "#444444"  # of a metric that belongs to no space
_MARKERS = "osD^vP"
_STYLES = ("-", "--", ":", "-.")
_PANELS = (
    "gamma",
    "wahba_per_sqrt_n",
    "wahba_over_movement",
    "ranking_mrr",
    "composition",
    "hue_r2",
    "color_following",
    "axis_error",
    "probe_accuracy",
    "knn_accuracy",
    "gamma_median",
)
_HANDLE, _LETTER = 0.62, 0.075  # width of a legend's handle and of a letter, inches
_SPACE_SHIFT = 0.13  # horizontal shift of a space, in steps between names
_LINE_SHIFT = 0.2  # horizontal shift over all lines of a space, in steps between names
_ZERO_GAP = 0.7  # decades between 0 and the smallest positive value
_MOST_LEVELS = 12  # numbers that have a tick each
_NAME_STEP = 0.27  # width of a slanted name, inches
_FRAME = 0.9  # width of a panel beside its names, inches
TITLE_WIDTH = 36  # characters in a panel's title
_LEGEND_LINE = 0.19  # height of a legend's line, inches
_LONGEST_ENTRY = 48  # characters in a legend's entry
_FREE_LINES = 2  # lines of a legend that need no extra height
_WIDEST = 10.0  # width of a figure, inches
_INTERVAL_ROOM = 0.35  # room for intervals beyond the dots, in ranges of the dots
_Y_MARGIN = 0.06  # empty part of a panel above and below, in ranges of what is drawn


class Positions:
    """Coordinates of the values on x: log-spaced with 0 set apart, linear, or evenly spaced."""

    def __init__(self, comparison: Comparison) -> None:
        values = list(dict.fromkeys(point[0] for point in comparison.points()))
        positive = [value for value in values if comparison.numeric and value > 0]
        spread = bool(positive) and max(positive) / min(positive) > 5
        self.log = spread and all(value >= 0 for value in values)
        self.zero = self.log and 0 in values
        self._even = {value: index for index, value in enumerate(values)}
        self.numeric = comparison.numeric
        self._least = min(positive) if positive else 1.0
        self.values = values

    def __call__(self, value: float | str) -> float:
        """Return the x coordinate of a value."""
        if self.log:
            if value == 0:
                return math.log10(self._least) - _ZERO_GAP
            return math.log10(float(value))
        return float(value) if self.numeric else self._even[value]

    @property
    def _width(self) -> float:
        xs = [self(value) for value in self.values]
        return max(xs) - min(xs)

    def dress(self, axes: Axes, label: str) -> None:
        """Set the ticks and the label of an axis."""
        shown = self.values
        if self.log and len(shown) > _MOST_LEVELS:
            zero = [0.0] if self.zero else []
            shown = zero + round_ticks([float(value) for value in shown if value != 0])
        xs = [self(value) for value in shown]
        names = [shorten(value_label(value)) for value in shown]
        if self.numeric:
            if len(xs) <= _MOST_LEVELS:
                axes.set_xticks(xs, blank_overlapping(xs, names, self._width))
            axes.set_xlabel(shorten(label))
        else:  # rotated: names are longer than the step between them
            axes.set_xticks(xs, names)
            axes.set_xlim(-0.5, len(names) - 0.5)
            axes.tick_params(axis="x", rotation=35)
            for name in axes.get_xticklabels():  # anchored, whatever font shows the SVG
                name.set(ha="right", rotation_mode="anchor")
            if label != axis_label(VARIANT):  # names of methods need no label
                axes.set_xlabel(shorten(label))
        if self.zero:
            self._mark_break(axes, self(0) + _ZERO_GAP / 2)

    @staticmethod
    def _mark_break(axes: Axes, x: float) -> None:
        """Draw two strokes across the axis, between 0 and the smallest positive value."""
        transform = axes.get_xaxis_transform()
        for shift in (-0.035, 0.035):
            axes.plot(
                [x + shift - 0.03, x + shift + 0.03],
                [-0.02, 0.02],
                transform=transform,
                color="#333333",
                lw=0.9,
                clip_on=False,
                zorder=5,
            )


def panel_grid(count: int, width: float = 3.3, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels in equal rows, of a width and height in inches each."""
    fitting = max(1, int(_WIDEST / width))
    columns = min(2 if count == 4 else 3, count, fitting)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows))
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for spare in axes[count:]:
        spare.set_visible(False)
    return figure, axes[:count]


def shown_measures(comparison: Comparison) -> list[str]:
    """List the panels that have a value: the sweep's metric first, then measures.

    Returns:
        Names of measures, each shown for both spaces; or of a metric that belongs to no space.
    """
    measured, metric = comparison.measured(), comparison.metric
    space, _, measure = metric.partition("/")
    first = [measure if space in SPACES else metric] if comparison.has_values(metric) else []
    names = [name for name in _PANELS if any(f"{space}/{name}" in measured for space in SPACES)]
    return list(dict.fromkeys([*first, *names]))


def panel_metrics(panel: str) -> dict[str, str]:
    """Map each metric of a panel to its color."""
    if "/" in panel:
        return {panel: _ONE_COLOR}
    return {f"{space}/{panel}": color for space, color in _SPACE_COLORS.items()}


def panel_label(panel: str) -> Label:
    """Return the label of a panel: a measure, or a metric that belongs to no space."""
    if "/" in panel:
        name = metric_label(panel)
        return CURVES.get(panel, Label(name, short=name))
    return measure_label(panel)


def draw_measures(comparison: Comparison) -> Figure:
    """Draw each measure against the axis, in both spaces: dots are seeds, bars 95 % intervals."""
    return _against_axis(
        comparison,
        seeds=comparison.values,
        mean=comparison.mean,
        title=str,
        zero_line=False,
    )


def draw_differences(comparison: Comparison) -> Figure:
    """Draw each measure's difference to the baseline, paired by seed."""
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
    with use_style():
        names = 0 if positions.numeric else len(positions.values)
        width = min(_WIDEST, max(3.3, _NAME_STEP * names + _FRAME))
        figure, panels = panel_grid(len(measures), width, 3.0 if names else 2.6)
        for axes, measure in zip(panels, measures, strict=True):
            if zero_line:
                axes.axhline(0, color="#555555", lw=0.8)
            draw_panel(axes, comparison, positions, panel_metrics(measure), seeds, mean)
            axes.set_title(textwrap.fill(title(panel_label(measure)), TITLE_WIDTH))
            positions.dress(axes, axis_label(comparison.x))
        add_legend(figure, make_handles(comparison))
    return figure


def draw_panel(
    axes: Axes,
    comparison: Comparison,
    positions: Positions,
    metrics: Mapping[str, str],
    seeds: Callable[[Point, str], pd.Series],
    mean: Callable[[Point, str], Estimate],
) -> None:
    """Draw metrics against the axis in one panel: a line for each setting of the other axes.

    Args:
        axes: The panel.
        comparison: The trials.
        positions: Coordinates on x.
        metrics: Color by metric; several are shifted apart where x has names.
        seeds: Values of a point and metric, indexed by seed.
        mean: Mean of a point and metric.
    """
    lines = comparison.lines()
    titles = Titles(comparison)
    step = 0 if positions.numeric else _LINE_SHIFT / len(lines)
    drawn: list[float] = []
    intervals: list[Estimate] = []
    for (metric, color), side in zip(metrics.items(), (-1, 1), strict=False):
        space_shift = 0 if positions.numeric or len(metrics) == 1 else side * _SPACE_SHIFT
        for index, line in enumerate(lines.values()):
            shift = space_shift + step * (index - (len(lines) - 1) / 2)
            style = (color, _MARKERS[index % len(_MARKERS)], _STYLES[index % len(_STYLES)])
            means = {point: mean(point, metric) for point in line}
            for point in line:
                values = seeds(point, metric)
                x = positions(point[0]) + shift
                drawn += _draw_dots(axes, x, comparison, point, values, style, titles)
            _draw_means(axes, positions, shift, means, style)
            intervals += means.values()
    axes.set_ylim(limits(drawn, intervals))


def _draw_dots(
    axes: Axes,
    x: float,
    comparison: Comparison,
    point: Point,
    values: pd.Series,
    style: tuple[str, str, str],
    titles: Titles,
) -> list[float]:
    """Draw a point's finite values, hollow for nearly collapsed trials, and return them.

    Args:
        axes: The panel.
        x: Coordinate on x.
        comparison: The trials.
        point: The point.
        values: Its values, indexed by seed.
        style: Color, marker and dashes.
        titles: What a dot shows under the pointer.
    """
    color, marker, _ = style
    collapsed = set(comparison.collapsed_seeds(point))
    full: dict[int, float] = {}
    hollow: dict[int, float] = {}
    for seed, value in values.items():
        if math.isfinite(value):
            (hollow if seed in collapsed else full)[int(str(seed))] = float(value)
    looks: dict[str, dict[str, Any]] = {
        "full": {"ms": 3.8, "alpha": 0.55, "mew": 0, "zorder": 3},
        "hollow": {"ms": 4.2, "mfc": "white", "mew": 0.9, "zorder": 3},
    }
    for dots, look in ((full, looks["full"]), (hollow, looks["hollow"])):
        if not dots:
            continue
        (drawn,) = axes.plot([x] * len(dots), list(dots.values()), marker, color=color, **look)
        if titles:
            set_titles(drawn, [titles.title(point, *dot) for dot in dots.items()])
    return [*full.values(), *hollow.values()]


def _draw_means(
    axes: Axes,
    positions: Positions,
    shift: float,
    means: dict[Point, Estimate],
    style: tuple[str, str, str],
) -> None:
    """Draw the means of one line of a panel, and their intervals."""
    color, _, dashes = style
    known = [(positions(point[0]) + shift, mean) for point, mean in means.items() if mean.n]
    xs, ys = [x for x, _ in known], [mean.mean for _, mean in known]
    if positions.numeric:
        axes.plot(xs, ys, dashes, color=color, lw=1.6)
    else:  # no connecting line: nothing lies between two names
        axes.plot(xs, ys, "_", color=color, ms=11, mew=1.8)
    for x, mean in known:
        if not math.isnan(mean.low):
            axes.plot([x, x], [mean.low, mean.high], color=color, lw=1.2, alpha=0.8)


def limits(drawn: Sequence[float], intervals: Sequence[Estimate]) -> tuple[float, float] | None:
    """Choose limits by the dots; a wide interval may add a part, and is cut beyond it.

    Args:
        drawn: Coordinates of the dots.
        intervals: Means whose intervals are drawn along the axis.

    Returns:
        The lower and the upper limit; None without dots.
    """
    if not drawn:
        return None
    low, high = min(drawn), max(drawn)
    room = (high - low) * _INTERVAL_ROOM or abs(high) * _INTERVAL_ROOM or 1.0
    ends = [end for one in intervals for end in (one.low, one.high) if math.isfinite(end)]
    bottom = max(min([low, *ends]), low - room)
    top = min(max([high, *ends]), high + room)
    margin = _Y_MARGIN * (top - bottom) or room
    return bottom - margin, top + margin


def make_handles(comparison: Comparison, *, lines: bool = True) -> list[Line2D]:
    """Make the entries of a legend: spaces, nearly collapsed trials, and a figure's lines."""
    handles = [
        Line2D([], [], color=color, marker="o", ms=4, label=SPACE_LABELS[space])
        for space, color in _SPACE_COLORS.items()
    ]
    return handles + make_line_handles(comparison, lines=lines)


def make_line_handles(comparison: Comparison, *, lines: bool = True) -> list[Line2D]:
    """Make a legend's entries for collapsed trials and for several lines; none if neither is."""
    handles = []
    if comparison.collapsed_points:
        hollow = Line2D([], [], color=_ONE_COLOR, marker="o", ms=4.2, label="nearly collapsed")
        hollow.set_markerfacecolor("white")
        hollow.set_linestyle("none")
        handles.append(hollow)
    settings = list(comparison.lines()) if lines else []
    if len(settings) > 1:
        for index, values in enumerate(settings):
            label = point_name(comparison.line_axes, values)
            handle = Line2D([], [], color="#555555", ms=4, label=label)
            handle.set_linestyle(_STYLES[index % len(_STYLES)])  # type: ignore[arg-type]
            handle.set_marker(_MARKERS[index % len(_MARKERS)])
            handles.append(handle)
    return handles


def add_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Add a legend above the panels, in as many columns as fit; extra lines make it higher."""
    for handle in handles:
        text = shorten(str(handle.get_label()), _LONGEST_ENTRY)
        # matplotlib leaves out labels that begin with an underscore.
        handle.set_label(f" {text}" if text.startswith("_") else text)
    longest = max(len(str(handle.get_label())) for handle in handles)
    fitting = int(figure.get_figwidth() / (_HANDLE + _LETTER * longest))
    columns = max(1, min(len(handles), fitting))
    lines = math.ceil(len(handles) / columns)
    more = _LEGEND_LINE * max(0, lines - _FREE_LINES)
    figure.set_figheight(figure.get_figheight() + more)
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)
