"""Figs 3, 17 to 20: the path of a protein's embedding under rotations of space."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.comparison import Point
from analysis.details import Array
from analysis.figure_data import Drawn, FigureData, Picture, common_seed, describe_missing
from analysis.style import INK, SMALL, STYLE, use_style

_AXES = ("x", "y", "z")
_COLORS = mpl.colormaps["viridis"]
# A path within this radius is rounding: it is shown as the point that it is.
_STILL = 1e-5
_MARGIN = 1.12
_CAPTION = (
    "Embeddings of a held-out protein under evenly spaced rotations about each axis, in the plane "
    "in which each path extends most. The ideal is a circle. Each panel has its own scale: r is "
    "the path's mean distance from its center, 0 where a rotation does not move the embedding. The "
    "ring marks 0°."
)


def draw(data: FigureData) -> Drawn:
    """Draw a picture for each protein: a row per method, a column per axis, colored by angle."""
    known = data.arrays("head/trajectories")
    left_out = describe_missing(data, "The paths of embeddings", known)
    if not known:
        return Drawn([], left_out)
    seeds = common_seed(known)
    paths = {point: known[point][seeds[point]] for point in known}
    proteins = min(len(path) for path in paths.values())
    pictures = [
        Picture(
            f"trajectories-{protein + 1}",
            _protein(data, {p: path[protein] for p, path in paths.items()}, seeds, protein),
            _CAPTION if protein == proteins - 1 else "",
        )
        for protein in range(proteins)
    ]
    return Drawn(pictures, left_out)


def _protein(
    data: FigureData, paths: dict[Point, Array], seeds: dict[Point, int], protein: int
) -> Figure:
    one_seed = len(set(seeds.values())) == 1
    with use_style({**STYLE, "axes.grid": False, "axes.spines.bottom": False}):
        figure = Figure(figsize=(5.8, 0.9 + 1.6 * len(paths)))
        panels = figure.subplots(len(paths), 3, squeeze=False)
        for row, (point, path) in zip(panels, paths.items(), strict=True):
            for axis, axes in enumerate(row):
                marks = _path(axes, path[axis])
            seed = "" if one_seed else f"\nseed {seeds[point]}"
            row[0].set_ylabel(data.name(point) + seed, weight="bold")
        for axes, name in zip(panels[0], _AXES, strict=True):
            axes.set_title(f"about the {name} axis", weight="normal")
        bar = figure.colorbar(marks, ax=panels, shrink=min(1.0, 1.6 / len(paths)), aspect=18)
        bar.set_label("angle of the rotation, °")
        bar.set_ticks([0, 90, 180, 270, 360])
        which = f", seed {next(iter(seeds.values()))}" if one_seed else ""
        title = f"Protein {protein + 1}{which}"
        look = {"size": STYLE["axes.titlesize"], "weight": "bold"}
        figure.suptitle(title, x=0.02, ha="left", **look)
    return figure


def _path(axes: Axes, path: Array) -> Any:
    """Draw a closed path [S,2] and return its marks, which carry the colors."""
    center = path.mean(0)
    radius = float(np.linalg.norm(path - center, axis=1).mean())
    reach = max(_STILL, float(np.abs(path - center).max())) * _MARGIN
    if radius < _STILL:
        reach = 1.0
    closed = np.concatenate([path, path[:1]])
    axes.plot(*closed.T, color="#c8c8c8", lw=0.8, zorder=1)
    angles = np.arange(len(path)) * 360 / len(path)
    x, y = path.T
    marks = axes.scatter(x, y, c=angles, cmap=_COLORS, vmin=0, vmax=360, s=9, lw=0, zorder=2)
    axes.plot(*path[0], "o", ms=7, mfc="none", mec=INK, mew=1.0, zorder=3)
    axes.set_xlim(center[0] - reach, center[0] + reach)
    axes.set_ylim(center[1] - reach, center[1] + reach)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("r = 0" if radius < _STILL else f"r = {radius:.2g}", size=SMALL)
    axes.spines["left"].set_visible(False)
    return marks
