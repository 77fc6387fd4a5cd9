"""The best point of a sweep, among points that are comparable."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

_SETS = 30  # of seeds that are looked at: a live table asks four times a second

PointKey = TypeVar("PointKey", bound=Hashable)


@dataclass(frozen=True)
class Election(Generic[PointKey]):
    """Which point is best by its mean over seeds that all compared points have.

    Attributes:
        point: The best one; None where none can be elected.
        mean: Its mean over ``seeds``; None without a point.
        seeds: The seeds that every compared point has.
        compared: The points that were compared, best first.
        other_seeds: Points with values that lack one of ``seeds``.
        collapsed: Points left out as next to collapse.
    """

    point: PointKey | None
    mean: float | None
    seeds: tuple[int, ...]
    compared: tuple[PointKey, ...]
    other_seeds: tuple[PointKey, ...]
    collapsed: tuple[PointKey, ...]


def elect(
    values: Mapping[PointKey, Mapping[int, float]],
    mode: Literal["max", "min"],
    collapsed: Collection[PointKey] = (),
) -> Election[PointKey]:
    """Elect the best point.

    Means over different seeds are not compared. The seeds are chosen so that most values are
    compared, and two points or more where there are two.

    Args:
        values: The metric of each finished trial, by point and seed.
        mode: Whether more or less is better.
        collapsed: Points next to collapse, which are left out.
    """
    known = {point: dict(by_seed) for point, by_seed in values.items() if by_seed}
    left_out = tuple(point for point in known if point in collapsed)
    rivals = {point: by_seed for point, by_seed in known.items() if point not in collapsed}
    if not rivals:
        return Election(None, None, (), (), (), left_out)
    seeds = _common_seeds([frozenset(by_seed) for by_seed in rivals.values()])
    means = {
        point: statistics.fmean(by_seed[seed] for seed in sorted(seeds))
        for point, by_seed in rivals.items()
        if seeds <= set(by_seed)
    }
    ranked = sorted(means, key=lambda point: means[point], reverse=mode == "max")
    others = tuple(point for point in rivals if point not in means)
    return Election(
        ranked[0], means[ranked[0]], tuple(sorted(seeds)), tuple(ranked), others, left_out
    )


def _common_seeds(sets: list[frozenset[int]]) -> frozenset[int]:
    """Return the seeds over which to compare: one of the sets, or what two of them share."""
    counts = Counter(sets)
    usual = [seeds for seeds, _ in counts.most_common(_SETS)]
    candidates = {one & other for one in usual for other in usual} - {frozenset()}

    def score(seeds: frozenset[int]) -> tuple[bool, int, int, list[int]]:
        points = sum(number for one, number in counts.items() if seeds <= one)
        return points > 1, points * len(seeds), len(seeds), [-seed for seed in sorted(seeds)]

    return max(candidates, key=score)
