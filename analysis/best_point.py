"""The best point of a sweep, among points with trials of equal seeds."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

_MOST_SETS = 30  # sets of seeds to consider: the live table asks four times a second

PointKey = TypeVar("PointKey", bound=Hashable)


@dataclass(frozen=True)
class BestPoint(Generic[PointKey]):
    """The point with the best mean over the seeds that all compared points have.

    Attributes:
        point: The best point; None if no point can be compared.
        mean: Its mean over ``seeds``; None without a point.
        seeds: The seeds that every compared point has.
        compared: The compared points, best first.
        other_seeds: Points with values that lack one of ``seeds``.
        collapsed: Points left out as nearly collapsed.
    """

    point: PointKey | None
    mean: float | None
    seeds: tuple[int, ...]
    compared: tuple[PointKey, ...]
    other_seeds: tuple[PointKey, ...]
    collapsed: tuple[PointKey, ...]


def find_best_point(
    values: Mapping[PointKey, Mapping[int, float]],
    mode: Literal["max", "min"],
    collapsed: Collection[PointKey] = (),
    *,
    most_points: bool = False,
    stopped: Collection[PointKey] = (),
) -> BestPoint[PointKey]:
    """Find the point with the best mean.

    Means over different seeds are not compared. The chosen seeds compare as many values as
    possible, and at least two points if there are two.

    Args:
        values: The metric of each finished trial, by point and seed.
        mode: Whether a larger or a smaller value is better.
        collapsed: Nearly collapsed points, which are left out.
        most_points: Compare as many points as possible, even if over fewer seeds: where seeds are
            added until a point is decided, the decided points have the fewest.
        stopped: Points that were worse than another one with the seeds that they have, and so got
            no further seeds; they do not reduce the seeds of the others.
    """
    known = {point: dict(by_seed) for point, by_seed in values.items() if by_seed}
    left_out = tuple(point for point in known if point in collapsed)
    rivals = {point: by_seed for point, by_seed in known.items() if point not in collapsed}
    if not rivals:
        return BestPoint(None, None, (), (), (), left_out)
    going_on = [one for point, one in rivals.items() if point not in stopped] or rivals.values()
    seeds = common_seeds([frozenset(by_seed) for by_seed in going_on], most_points)
    means = {
        point: statistics.fmean(by_seed[seed] for seed in sorted(seeds))
        for point, by_seed in rivals.items()
        if seeds <= set(by_seed)
    }
    ranked = sorted(means, key=lambda point: means[point], reverse=mode == "max")
    others = tuple(point for point in rivals if point not in means)
    return BestPoint(
        ranked[0], means[ranked[0]], tuple(sorted(seeds)), tuple(ranked), others, left_out
    )


def common_seeds(sets: list[frozenset[int]], most_points: bool) -> frozenset[int]:
    """Choose the seeds to compare over: one of the sets, or the intersection of two."""
    counts = Counter(sets)
    common = [seeds for seeds, _ in counts.most_common(_MOST_SETS)]
    candidates = {one & other for one in common for other in common} - {frozenset()}

    def score(seeds: frozenset[int]) -> tuple[int, int, int, list[int]]:
        points = sum(number for one, number in counts.items() if seeds <= one)
        first = points if most_points else int(points > 1)
        return first, points * len(seeds), len(seeds), [-seed for seed in sorted(seeds)]

    return max(candidates, key=score)
