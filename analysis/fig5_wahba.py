"""Fig 5: the residual of the best rotation for each augmentation."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.comparison import Point
from analysis.details import Array
from analysis.figure_data import Drawn, FigureData, Picture, describe_missing, seeds_text
from analysis.figures import add_legend
from analysis.labels import SPACE_LABELS
from analysis.style import method_color, use_style

_MARKERS = "os^Dv<>p"
_WIDTH = 0.6  # of the band within which the methods stand side by side
_DECADES = 50.0
_BAND = "#f3f4f6"  # behind every other augmentation
_RANDOM = (
    "Residual of the best rotation of SO(d) by √n, {space}, for the random augmentations listed "
    "below. A mark is the mean over seeds, a line their range; all methods share the order of the "
    "augmentations."
)
_NAMED = "The residual and γ_f of single operations. Lower is more equivariant in both."


def draw(data: FigureData) -> Drawn:
    """Draw the residual of each random augmentation, and of single named operations."""
    space = data.space
    known = data.arrays(f"{space}/wahba")
    named = data.arrays(f"{space}/named_wahba")
    pictures = []
    if known:
        names = _names(data, known, "rotation/names")
        caption = _RANDOM.format(space=SPACE_LABELS[space])
        pictures.append(Picture("wahba", _random(data, known), caption, names))
    if named:
        pictures.append(Picture("wahba-named", _operations(data, named), _NAMED))
    left_out = describe_missing(data, "The residual of each augmentation", known)
    return Drawn(pictures, left_out)


def _names(data: FigureData, known: dict[Point, dict[int, Array]], name: str) -> tuple[str, ...]:
    """Read the names of the augmentations from the first trial; all trials share them."""
    first = data.details.get(next(iter(known)), name)
    return tuple(map(str, next(iter(first.values()))))


def _random(data: FigureData, known: dict[Point, dict[int, Array]]) -> Figure:
    with use_style():
        figure = Figure(figsize=(8.4, 3.6))
        axes = figure.subplots()
        count = _spread(axes, data, known, vertical=True)
        for number in range(0, count, 2):
            axes.axvspan(number - 0.5, number + 0.5, color=_BAND, lw=0, zorder=0)
        axes.set_xticks(range(count), [str(number + 1) for number in range(count)])
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("augmentation")
        axes.set_title("Wahba residual / √n")
        _legend(figure, data, known)
    return figure


def _operations(data: FigureData, named: dict[Point, dict[int, Array]]) -> Figure:
    names = _names(data, named, "named/names")
    gammas = data.arrays(f"{data.space}/named_gamma")
    with use_style():
        figure = Figure(figsize=(8.4, 1.2 + 0.3 * len(names)))
        panels = figure.subplots(1, 2, sharey=True)
        for axes, arrays, title in zip(
            panels, (named, gammas), ("Wahba residual / √n", "γ_f"), strict=True
        ):
            _spread(axes, data, arrays, vertical=False)
            axes.set_title(title)
            _scale(axes, np.concatenate([one for by in arrays.values() for one in by.values()]))
            axes.grid(axis="x")
            axes.grid(visible=False, axis="y")
            for number in range(0, len(names), 2):
                axes.axhspan(number - 0.5, number + 0.5, color=_BAND, lw=0, zorder=0)
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.5, -0.5)
        _legend(figure, data, named)
    return figure


def _scale(axes: Axes, values: Array) -> None:
    """Start the axis at 0, or show decades where γ_f's unbounded peaks would hide all else."""
    if values.min() > 0 and values.max() > _DECADES * values.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,g}")  # exponents would be too small to read
    else:
        axes.set_xlim(left=0)


def _spread(
    axes: Axes, data: FigureData, known: dict[Point, dict[int, Array]], *, vertical: bool
) -> int:
    """Draw each point's values [A] over seeds side by side and return A."""
    count = 0
    for index, (point, arrays) in enumerate(known.items()):
        values = np.stack(list(arrays.values()))
        count = values.shape[1]
        shift = _WIDTH * ((index + 0.5) / len(known) - 0.5)
        places, means = np.arange(count) + shift, values.mean(0)
        color, marker = method_color(data.index(point)), _MARKERS[index % len(_MARKERS)]
        least, most = values.min(0), values.max(0)
        if vertical:
            axes.vlines(places, least, most, lw=1.1, color=color)
            axes.plot(places, means, marker, ms=4.5, mew=0, color=color)
        else:
            axes.hlines(places, least, most, lw=1.1, color=color)
            axes.plot(means, places, marker, ms=4.5, mew=0, color=color)
    return count


def _legend(figure: Figure, data: FigureData, known: dict[Point, dict[int, Array]]) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=method_color(data.index(point)),
            marker=_MARKERS[index % len(_MARKERS)],
            ms=4.5,
            mew=0,
            lw=1.1,
            label=f"{data.name(point)} ({seeds_text({point: arrays})})",
        )
        for index, (point, arrays) in enumerate(known.items())
    ]
    add_legend(figure, handles)
