"""Figs 9, 21: the neighbors of an image, before and after a change of its color."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.comparison import Point
from analysis.details import Array
from analysis.figure_data import Drawn, FigureData, Picture, common_seed, describe_missing
from analysis.style import INK, SMALL, STYLE, use_style

_QUERIES = 4
_METHODS = 2  # side by side
_ROWS = ("f(x)", "f(a(x))")
_CAPTION = (
    "The framed image is the query: x in the upper row and, with its hue turned, a(x) in the lower "
    "one. The five images after it are its nearest neighbors by the distance of their embeddings. "
    "Where embeddings follow the color, the neighbors change with the query."
)

# Inches. A thumbnail is as high as it is wide, whatever the images' number of pixels.
_THUMBNAIL = 0.66
_APART = 0.05  # neighbors from each other
_QUERY_APART = 0.2  # the query from its neighbors
_LEFT = 0.62  # for the rows' labels
_GUTTER = 0.3  # between methods
_HEAD = 0.4  # for the methods' names
_LINE = 0.3  # above each query, for its turn of the hue
_STRIP = 6 * _THUMBNAIL + _QUERY_APART + 4 * _APART
_QUERY = _LINE + 2 * _THUMBNAIL + _APART


def draw(data: FigureData) -> Drawn:
    """Draw two rows of thumbnails for each method and query: four queries, two methods."""
    known = data.arrays(f"{data.space}/retrieval")
    left_out = describe_missing(data, "The grid of neighbors", known)
    if not known:
        return Drawn([], left_out)
    seeds = common_seed(known)
    points = list(known)
    pictures = []
    for start in range(0, len(points), _METHODS):
        some = {p: known[p][seeds[p]][:_QUERIES] for p in points[start : start + _METHODS]}
        name = f"flowers-{start // _METHODS + 1}"
        caption = _CAPTION if start + _METHODS >= len(points) else ""
        pictures.append(Picture(name, _grid(data, some, seeds), caption))
    return Drawn(pictures, left_out)


def _grid(data: FigureData, grids: dict[Point, Array], seeds: dict[Point, int]) -> Figure:
    queries = max(map(len, grids.values()))
    width = _LEFT + len(grids) * (_STRIP + _GUTTER)
    with use_style({**STYLE, "figure.constrained_layout.use": False}):
        figure = Figure(figsize=(width, _HEAD + queries * _QUERY + 2 * _APART))
        for column, (point, grid) in enumerate(grids.items()):
            left = _LEFT + column * (_STRIP + _GUTTER)
            name = f"{data.name(point)}, seed {seeds[point]}"
            _text(figure, left, 0.24, name, weight="bold", size=STYLE["axes.titlesize"])
            turns = data.details.get(point, "retrieval/shift")[seeds[point]]
            for query, rows in enumerate(grid):
                top = _HEAD + query * _QUERY
                turn = f"hue turned by {360 * turns[query]:.0f}°"
                _text(figure, left, top + 0.22, turn, size=SMALL)
                for row, images in enumerate(rows):
                    down = top + _LINE + row * (_THUMBNAIL + _APART)
                    axes = _strip(figure, left, down, images)
                    if column == 0:
                        axes.set_ylabel(_ROWS[row], rotation=0, ha="right", va="center")
    return figure


def _text(figure: Figure, left: float, down: float, text: str, **look: Any) -> None:
    """Write text at inches from the upper left corner."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - down / height, text, va="baseline", **look)


def _strip(figure: Figure, left: float, down: float, images: Array) -> Axes:
    """Draw the images [6,3,h,w] of a row, the query framed, at inches from that corner."""
    width, height = figure.get_size_inches()
    low = 1 - (down + _THUMBNAIL) / height
    axes = figure.add_axes((left / width, low, _STRIP / width, _THUMBNAIL / height))
    for index, image in enumerate(images):
        start = index * (_THUMBNAIL + _APART) + (_QUERY_APART - _APART if index else 0)
        extent = (start, start + _THUMBNAIL, 0, _THUMBNAIL)
        pixels = np.moveaxis(image, 0, -1)
        axes.imshow(pixels, extent=extent, aspect="auto", interpolation="nearest")
    frame = Rectangle((0, 0), _THUMBNAIL, _THUMBNAIL, fill=False, ec=INK, lw=1.6, clip_on=False)
    axes.add_patch(frame)
    axes.set(xlim=(0, _STRIP), ylim=(0, _THUMBNAIL), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    return axes
