"""Each axis of a search against its metric, and its two most important numeric axes together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from matplotlib.tri import Triangulation

from analysis.comparison import Comparison, Point
from analysis.figures import add_legend, panel_grid
from analysis.hover import set_titles
from analysis.importance import Axes as AxisNames
from analysis.labels import UNUSED, axis_label, point_name, short_metric_label, shorten, value_label
from analysis.levels import is_number
from analysis.style import STYLE, use_style
from analysis.ticks import blank_overlapping, round_ticks

_SEED, _MEAN, _LINE = "#999999", "#0072B2", "#D55E00"
_WIDE = 5.0  # ratio from which positive values are on a logarithmic scale
_MOST_NAMES = 12  # levels of an axis that are drawn as names
_MOST_PANELS = 9
_MOST_VECTORS = 1000  # dots of a panel; more are drawn as pixels
_MOST_TICKS = 5
_LEAST_LEVELS = 5  # of an axis of a contour: between few values there is nothing to show
_LEAST_SPOTS = 12  # different positions of a contour
_SMALLEST_HULL = 0.35  # part of the panel that the triangles cover
_LEVELS = 9


@dataclass(frozen=True)
class Sample:
    """The points that the figures show.

    Attributes:
        comparison: The sweep.
        metric: The metric.
        mode: Whether a larger or a smaller value is better.
        values: Values by seed of each point that is not nearly collapsed.
    """

    comparison: Comparison
    metric: str
    mode: str
    values: Mapping[Point, Mapping[int, float]]

    @property
    def means(self) -> dict[Point, float]:
        """The mean of each point."""
        return {point: math.fsum(one.values()) / len(one) for point, one in self.values.items()}

    def level(self, point: Point, axis: str) -> Any:
        """Return a point's level of an axis."""
        return point[self.comparison.axes.index(axis)]


def take_sample(comparison: Comparison, metric: str, mode: str) -> Sample:
    """Collect the values of a metric, without nearly collapsed points."""
    collapsed = set(comparison.collapsed_points)
    values = {}
    for point in comparison.points():
        known = {
            seed: value
            for seed, value in comparison.by_seed(point, metric).items()
            if math.isfinite(value)
        }
        if known and point not in collapsed:
            values[point] = known
    return Sample(comparison, metric, mode, values)


class _Scale:
    """Coordinates of an axis's levels: numbers, on a log scale if they are wide, or names.

    Attributes:
        axis: The axis.
        levels: Its levels, in order.
        numeric: Whether they are numbers.
        log: Whether the scale is logarithmic.
        named: Whether the levels are evenly spaced and labeled, as names are.
    """

    def __init__(self, sample: Sample, axis: str) -> None:
        self.axis = axis
        self._index = sample.comparison.axes.index(axis)
        used = {point[self._index] for point in sample.values} - {UNUSED}
        self.levels = [one for one in sample.comparison.levels(axis) if one in used]
        self.numeric = all(map(is_number, self.levels))
        positive = [one for one in self.levels if self.numeric and one > 0]
        wide = bool(positive) and max(positive) / min(positive) > _WIDE
        self.log = wide and len(positive) == len(self.levels)
        # Of a wide axis with 0 the small levels would lie on one another.
        crowded = wide and not self.log and len(self.levels) <= _MOST_NAMES
        self.named = not self.numeric or crowded
        self._places = {level: place for place, level in enumerate(self.levels)}

    def __call__(self, point: Point) -> float:
        level = point[self._index]
        if level == UNUSED:
            return math.nan
        return float(self._places[level]) if self.named else float(level)

    def dress(self, axes: Axes) -> None:
        """Set scale, ticks and label of a panel's x."""
        self.scale(axes.xaxis)
        if self.named:
            names = [shorten(value_label(level), 14) for level in self.levels[:_MOST_NAMES]]
            axes.set_xticks(range(len(names)), names, rotation=35 if len(names) > 3 else 0)
            axes.set_xlim(-0.5, len(self.levels) - 0.5)
        axes.set_xlabel(shorten(axis_label(self.axis)))

    def scale(self, side: Axis) -> None:
        """Set the scale and the ticks of numbers: few levels have a tick each."""
        if self.log:
            (side.axes.set_xscale if isinstance(side, XAxis) else side.axes.set_yscale)("log")
            side.set_minor_locator(NullLocator())
        if self.named:
            return
        if len(self.levels) <= _MOST_TICKS:
            labels = [value_label(level) for level in self.levels]
            if isinstance(side, XAxis):
                xs = [math.log10(level) if self.log else level for level in self.levels]
                labels = blank_overlapping(xs, labels)
            side.set_ticks(self.levels, labels)
        elif self.log:
            ticks = round_ticks(self.levels)
            side.set_ticks(ticks, [f"{tick:g}" for tick in ticks])


def list_panels(
    samples: Sequence[Sample], axes_names: Sequence[AxisNames]
) -> list[tuple[Sample, str]]:
    """List the metric and the axis of each panel; axes that change together have one."""
    return [(one, names[0]) for one in samples for names in axes_names][:_MOST_PANELS]


def draw_slices(samples: Sequence[Sample], axes_names: Sequence[AxisNames]) -> Figure:
    """Draw each metric against each axis: small dots are seeds, large ones the points' means.

    Levels that several points share have a line through their means; between other points nothing
    is drawn.
    """
    shown = list_panels(samples, axes_names)
    shared = False
    with use_style():
        figure, panels = panel_grid(len(shown), 3.3, 2.8)
        for axes, (sample, axis) in zip(panels, shown, strict=True):
            scale = _Scale(sample, axis)
            shared |= _is_shared(sample, scale)
            _draw_slice(axes, sample, scale)
            arrow = "↑" if sample.mode == "max" else "↓"
            axes.set_ylabel(shorten(f"{short_metric_label(sample.metric)} ({arrow})", 28))
        handles = [
            Line2D([], [], color=_SEED, marker="o", ms=3, ls="none", label="seed"),
            Line2D([], [], color=_MEAN, marker="o", ms=5, ls="none", label="mean of a point"),
        ]
        if shared:
            handles.append(Line2D([], [], color=_LINE, lw=1.6, label="mean of a level"))
        add_legend(figure, handles)
    return figure


def _is_shared(sample: Sample, scale: _Scale) -> bool:
    """Check that an axis's levels have two points or more each, on average."""
    return 1 < len(scale.levels) <= min(_MOST_NAMES, len(sample.values) // 2)


def _draw_slice(axes: Axes, sample: Sample, scale: _Scale) -> None:
    means = sample.means
    points = [point for point in means if not math.isnan(scale(point))]
    xs = [scale(point) for point in points for _ in sample.values[point]]
    ys = [value for point in points for value in sample.values[point].values()]
    pixels = len(xs) > _MOST_VECTORS
    axes.plot(xs, ys, "o", color=_SEED, ms=2.4, mew=0, alpha=0.7, rasterized=pixels)
    (dots,) = axes.plot(
        [scale(point) for point in points],
        [means[point] for point in points],
        "o",
        color=_MEAN,
        ms=4.6,
        mew=0,
        alpha=0.75,
        zorder=3,
        rasterized=pixels,
    )
    if not pixels:
        names = sample.comparison.axes
        set_titles(dots, [f"{point_name(names, point)}: {means[point]:.4g}" for point in points])
    if _is_shared(sample, scale):
        groups: dict[float, list[float]] = {}
        for point in points:
            groups.setdefault(scale(point), []).append(means[point])
        ends = sorted(groups)
        heights = [math.fsum(groups[x]) / len(groups[x]) for x in ends]
        look: dict[str, Any] = {"color": _LINE, "lw": 1.4, "zorder": 2}
        if scale.named:  # nothing lies between two names
            axes.plot(ends, heights, "_", ms=16, mew=2, color=_LINE, zorder=4)
        else:
            axes.plot(ends, heights, "-", **look)
    scale.dress(axes)


@dataclass(frozen=True)
class Contour:
    """The two axes of a contour plot, and its triangles.

    Attributes:
        x: The axis on x.
        y: The axis on y.
        spots: Mean over the points at each position, on the scales' coordinates.
    """

    x: str
    y: str
    spots: Mapping[tuple[float, float], float]


def find_contour(sample: Sample, ranked: Sequence[AxisNames]) -> Contour | None:
    """Choose the two most important numeric axes; None where points are too few or on a line.

    Args:
        sample: The points.
        ranked: The axes, the most important first.
    """
    scales = {one[0]: _Scale(sample, one[0]) for one in ranked if len(one) == 1}
    numeric = [axis for axis, scale in scales.items() if _is_dense(scale)]
    if len(numeric) < 2:
        return None
    x, y = numeric[:2]
    groups: dict[tuple[float, float], list[float]] = {}
    for point, mean in sample.means.items():
        spot = (scales[x](point), scales[y](point))
        if not any(map(math.isnan, spot)):
            groups.setdefault(spot, []).append(mean)
    spots = {spot: math.fsum(values) / len(values) for spot, values in groups.items()}
    if len(spots) < _LEAST_SPOTS:
        return None
    unit = _to_unit(list(spots), scales[x].log, scales[y].log)
    if min(np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False)) < 1e-6:
        return None
    return Contour(x, y, spots) if _hull(unit) >= _SMALLEST_HULL else None


def _is_dense(scale: _Scale) -> bool:
    return not scale.named and len(scale.levels) >= _LEAST_LEVELS


def _to_unit(spots: Sequence[tuple[float, float]], *logs: bool) -> np.ndarray[Any, Any]:
    """Scale positions to the unit square, as a reader sees them: triangles depend on the scale."""
    places = np.array(spots, dtype=float)
    for column, log in enumerate(logs):
        one = np.log(places[:, column]) if log else places[:, column]
        places[:, column] = (one - one.min()) / ((one.max() - one.min()) or 1.0)
    return places


def _hull(places: np.ndarray[Any, Any]) -> float:
    """Return the area of the triangles between positions."""
    corners = places[Triangulation(*places.T).triangles]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    doubled = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    return float(np.abs(doubled).sum() / 2)


def draw_contours(contours: Sequence[tuple[Sample, Contour]]) -> Figure:
    """Draw metrics over two axes, linearly between the points, which are shown."""
    with use_style({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(5.0 * len(contours), 3.8))
        panels = figure.subplots(1, len(contours), squeeze=False).flatten().tolist()
        for axes, (sample, contour) in zip(panels, contours, strict=True):
            _draw_contour(figure, axes, sample, contour)
    return figure


def _draw_contour(figure: Figure, axes: Axes, sample: Sample, contour: Contour) -> None:
    x, y = _Scale(sample, contour.x), _Scale(sample, contour.y)
    spots = list(contour.spots)
    triangles = Triangulation(*_to_unit(spots, x.log, y.log).T).triangles
    places = np.array(spots, dtype=float)
    heights = np.array(list(contour.spots.values()))
    x.scale(axes.xaxis)
    y.scale(axes.yaxis)
    colors = mpl.colormaps["viridis_r" if sample.mode == "min" else "viridis"]
    levels = np.linspace(heights.min(), heights.max(), _LEVELS + 1)
    mesh = Triangulation(places[:, 0], places[:, 1], triangles)
    drawn = axes.tricontourf(mesh, heights, levels=levels, cmap=colors)
    set_titles(drawn, [], keep_colors=True)
    dots = axes.scatter(
        places[:, 0],
        places[:, 1],
        c=heights,
        cmap=colors,
        vmin=levels[0],
        vmax=levels[-1],
        s=26,
        edgecolors="white",
        linewidths=0.9,
        zorder=3,
        clip_on=False,
    )
    set_titles(dots, [], keep_colors=True)
    axes.set_xlabel(axis_label(contour.x))
    axes.set_ylabel(axis_label(contour.y))
    bar = figure.colorbar(drawn, ax=axes, aspect=24, pad=0.02, format="%#.3g")
    bar.set_label(short_metric_label(sample.metric))
    bar.outline.set_visible(False)
    assert bar.solids is not None
    set_titles(bar.solids, [], keep_colors=True)


def describe_slices(samples: Sequence[Sample], axes_names: Sequence[AxisNames]) -> list[str]:
    """Describe each panel: the axis's level at the best and the worst point."""
    texts = []
    for sample, axis in list_panels(samples, axes_names):
        means = sample.means
        ordered = sorted(means, key=means.__getitem__, reverse=sample.mode == "max")
        ends = [
            f"{means[point]:.3g} at {value_label(sample.level(point, axis))}"
            for point in (ordered[0], ordered[-1])
        ]
        texts.append(
            f"{short_metric_label(sample.metric)} of {len(means)} points against "
            f"{axis_label(axis)}: the best point has {ends[0]}, the worst {ends[1]}."
        )
    return texts


def describe_contours(contours: Sequence[tuple[Sample, Contour]]) -> str:
    """Describe the picture: where the best values lie."""
    texts = []
    for sample, contour in contours:
        choose = max if sample.mode == "max" else min
        x, y = choose(contour.spots, key=contour.spots.__getitem__)
        texts.append(
            f"{short_metric_label(sample.metric)} over {axis_label(contour.x)} and "
            f"{axis_label(contour.y)}, from {len(contour.spots)} points; the best, "
            f"{contour.spots[x, y]:.3g}, is at {x:.3g} and {y:.3g}."
        )
    return " ".join(texts)
