"""What a figure of the paper is drawn from, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison import Comparison, Point
from analysis.details import Array, Details
from analysis.labels import SPACES, point_name
from analysis.summary import Reproduction


@dataclass(frozen=True)
class Material:
    """Everything that is known of a sweep.

    Attributes:
        comparison: Its trials by point.
        curves: A row an epoch.
        details: The finished trials' arrays.
        reproduction: What of the paper the sweep reproduces.
    """

    comparison: Comparison
    curves: pd.DataFrame
    details: Details
    reproduction: Reproduction

    @property
    def metric(self) -> str:
        """The measure that the paper's numbers are of."""
        return str(self.reproduction.metric)

    @property
    def has_metric(self) -> bool:
        """Whether a finished trial has measured it."""
        return any(self.comparison.mean(p, self.metric).n for p in self.comparison.points())

    @property
    def space(self) -> str:
        """Where the figure looks: at the metric's space, else at the sphere as the paper does."""
        space = self.metric.partition("/")[0]
        return space if space in SPACES else "head"

    def name(self, point: Point) -> str:
        """A point for people, e.g. the method."""
        return point_name(self.comparison.axes, point)

    def arrays(self, name: str) -> dict[Point, dict[int, Array]]:
        """An array of the trials' details by seed, for the points that have it, in their order."""
        found = {point: self.details.get(point, name) for point in self.comparison.points()}
        return {point: arrays for point, arrays in found.items() if arrays}

    def place(self, point: Point) -> int:
        """A point's place in the sweep, which gives its color in every figure."""
        return self.comparison.points().index(point)


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Attributes:
        name: Of its file.
        figure: The drawing.
        caption: What to read in it, in sentences.
        key: What the numbers in it stand for, from 1 on.
    """

    name: str
    figure: Figure
    caption: str
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawn:
    """What became of a figure.

    Attributes:
        pictures: In the order of the page.
        left_out: A sentence for each thing that is not drawn, and why.
    """

    pictures: list[Picture] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


Draw = Callable[[Material], Drawn]


def without(material: Material, what: str, known: dict[Point, dict[int, Array]]) -> list[str]:
    """A sentence on the points that a picture leaves out; none if it has them all.

    Args:
        material: The sweep.
        what: The picture, e.g. ``The histogram of cosines``.
        known: What :meth:`Material.arrays` found for it.
    """
    missing = [point for point in material.comparison.points() if point not in known]
    if not missing:
        return []
    if not known:
        return [f"{what} is not drawn: no finished trial has what it needs in its details.npz."]
    names = "; ".join(material.name(point) for point in missing)
    return [f"{what} lacks {names}: no finished trial there has what it needs in its details.npz."]


def not_measured(what: str, measure: str) -> Drawn:
    """No picture, and the sentence that says which measure no trial has."""
    return Drawn([], [f"{what} is not drawn: no finished trial has measured {measure}."])


def common_seed(known: dict[Point, dict[int, Array]]) -> dict[Point, int]:
    """The first seed that all points have; where there is none, the first seed of each."""
    shared = set.intersection(*(set(arrays) for arrays in known.values()))
    return {point: min(shared or arrays) for point, arrays in known.items()}


def seeds_text(known: dict[Point, dict[int, Array]]) -> str:
    """How many seeds the points have: ``n = 3 seeds``, or the least and the most."""
    counts = {len(arrays) for arrays in known.values()}
    least, most = min(counts), max(counts)
    number = str(most) if least == most else f"{least} to {most}"
    return f"n = {number} seed{'' if most == 1 else 's'}"
