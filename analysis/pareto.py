"""The Pareto front of points with trials of equal seeds."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from analysis.best_point import common_seeds

PointKey = TypeVar("PointKey", bound=Hashable)
Values = Mapping[int, Sequence[float]]
"""Seed to a value of each objective."""


@dataclass(frozen=True)
class Objective:
    """A metric that compares the points of a sweep.

    Attributes:
        metric: Its name.
        mode: Whether a larger or a smaller value is better.
    """

    metric: str
    mode: Literal["max", "min"]


@dataclass(frozen=True)
class Front(Generic[PointKey]):
    """The points that no other point is better than in one objective and as good in the others.

    Attributes:
        points: The front, the best by the first objective first.
        means: Means of each objective over ``seeds``, by compared point.
        seeds: The seeds that every compared point has.
        other_seeds: Points with values that lack one of ``seeds``.
        collapsed: Points left out as nearly collapsed.
    """

    points: tuple[PointKey, ...]
    means: Mapping[PointKey, tuple[float, ...]]
    seeds: tuple[int, ...]
    other_seeds: tuple[PointKey, ...]
    collapsed: tuple[PointKey, ...]


def find_front(
    values: Mapping[PointKey, Values],
    objectives: Sequence[Objective],
    collapsed: Collection[PointKey] = (),
) -> Front[PointKey]:
    """Find the Pareto front of the points' means.

    Means over different seeds are not compared; the seeds are chosen as for the best point.

    Args:
        values: The values of each finished trial that has all of them, by point and seed.
        objectives: The metrics, in the order of the values.
        collapsed: Nearly collapsed points, which are left out.
    """
    known = {point: by_seed for point, by_seed in values.items() if by_seed}
    left_out = tuple(point for point in known if point in collapsed)
    rivals = {point: by_seed for point, by_seed in known.items() if point not in collapsed}
    if not rivals:
        return Front((), {}, (), (), left_out)
    seeds = sorted(common_seeds([frozenset(by_seed) for by_seed in rivals.values()], False))
    means = {
        point: tuple(map(statistics.fmean, zip(*(by_seed[seed] for seed in seeds), strict=True)))
        for point, by_seed in rivals.items()
        if by_seed.keys() >= set(seeds)
    }
    signs = [1 if objective.mode == "max" else -1 for objective in objectives]
    goods = {
        point: tuple(sign * mean for sign, mean in zip(signs, of_point, strict=True))
        for point, of_point in means.items()
    }
    points: list[PointKey] = []
    # The points that beat a point come before it, and one of them is on the front.
    for point in sorted(goods, key=lambda point: goods[point], reverse=True):
        if not any(_beats(goods[other], goods[point]) for other in points):
            points.append(point)
    others = tuple(point for point in rivals if point not in means)
    return Front(tuple(points), means, tuple(seeds), others, left_out)


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
