"""Input and output of the functions that draw the paper's figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison import Comparison, Point
from analysis.details import Array, Details
from analysis.labels import point_name
from analysis.summary import Reproduction
from care.registry import SPACES


@dataclass(frozen=True)
class FigureData:
    """Hold the finished trials of a sweep as a figure needs them.

    Attributes:
        comparison: The sweep's trials by point.
        curves: Metrics of the training, a row per epoch.
        details: The finished trials' arrays.
        reproduction: What of the paper the sweep reproduces.
    """

    comparison: Comparison
    curves: pd.DataFrame
    details: Details
    reproduction: Reproduction

    @property
    def metric(self) -> str:
        """Return the measure of which the paper gives numbers."""
        return str(self.reproduction.metric)

    @property
    def has_metric(self) -> bool:
        """Tell whether a finished trial has that measure."""
        return any(self.comparison.mean(p, self.metric).n for p in self.comparison.points())

    @property
    def space(self) -> str:
        """Return the metric's feature space; ``head``, which the paper uses, if it has none."""
        space = self.metric.partition("/")[0]
        return space if space in SPACES else "head"

    def name(self, point: Point) -> str:
        """Return a point's name for people, e.g. the method."""
        return point_name(self.comparison.axes, point)

    def arrays(self, name: str) -> dict[Point, dict[int, Array]]:
        """Return an array of ``details.npz`` by point and seed, without points that lack it."""
        arrays = {point: self.details.get(point, name) for point in self.comparison.points()}
        return {point: by_seed for point, by_seed in arrays.items() if by_seed}

    def index(self, point: Point) -> int:
        """Return a point's index in the sweep, which gives its color in every figure."""
        return self.comparison.points().index(point)


@dataclass(frozen=True)
class Picture:
    """Hold one drawing of a figure.

    Attributes:
        name: Name of its file, ``paper-<name>.svg`` and others.
        figure: The drawing.
        caption: Explanation for the reader, in sentences.
        key: Meanings of the numbers in it, from 1 on.
    """

    name: str
    figure: Figure
    caption: str
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawn:
    """Hold the pictures of a figure, and the reasons for those that are missing.

    Attributes:
        pictures: In the order of the page.
        left_out: A sentence for each thing that is not drawn, with the reason.
    """

    pictures: list[Picture] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


Draw = Callable[[FigureData], Drawn]


def describe_missing(
    data: FigureData, what: str, known: dict[Point, dict[int, Array]]
) -> list[str]:
    """Name the points that a picture leaves out, in one sentence; none if it has them all.

    Args:
        data: The sweep.
        what: The picture, e.g. ``The histogram of cosines``.
        known: Its arrays by point and seed, from :meth:`FigureData.arrays`.
    """
    missing = [point for point in data.comparison.points() if point not in known]
    if not missing:
        return []
    if not known:
        return [f"{what} is not drawn: no finished trial has what it needs in its details.npz."]
    names = "; ".join(data.name(point) for point in missing)
    return [f"{what} lacks {names}: no finished trial there has what it needs in its details.npz."]


def not_measured(what: str, measure: str) -> Drawn:
    """Return no picture, and a sentence that names the missing measure."""
    return Drawn([], [f"{what} is not drawn: no finished trial has measured {measure}."])


def common_seed(known: dict[Point, dict[int, Array]]) -> dict[Point, int]:
    """Choose the first seed that all points have, else the first seed of each."""
    shared = set.intersection(*(set(arrays) for arrays in known.values()))
    return {point: min(shared or arrays) for point, arrays in known.items()}


def seeds_text(known: dict[Point, dict[int, Array]]) -> str:
    """Return ``n = 3 seeds``, or ``n = 2 to 3 seeds`` where the points differ."""
    counts = {len(arrays) for arrays in known.values()}
    least, most = min(counts), max(counts)
    number = str(most) if least == most else f"{least} to {most}"
    return f"n = {number} seed{'' if most == 1 else 's'}"
