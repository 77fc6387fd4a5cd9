"""The seeds of each point of a sweep with adaptive seeds, from the values in the store."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.adaptive_seeds import (
    PointVerdict,
    SeedChoice,
    TrialValue,
    choose_seeds,
    list_looks,
)
from analysis.labels import point_name
from analysis.levels import choose_x, order_levels, to_level
from sweeps.spec.seeds import AdaptiveSeeds

Points = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class PointSeeds:
    """The seeds of each point, and the comparisons that decided them.

    Attributes:
        limits: The declared numbers of seeds.
        points: Every point of the sweep, axis to value.
        baselines: For each point the index of its baseline; None for one that is not compared.
        choice: Number of seeds and verdict by point.
    """

    limits: AdaptiveSeeds
    points: Points
    baselines: tuple[int | None, ...]
    choice: SeedChoice

    @property
    def looks(self) -> list[int]:
        """The numbers of seeds at which points are compared."""
        return list_looks(self.limits.least, self.limits.most)

    @property
    def may_grow(self) -> int:
        """Number of points that may get more seeds; 0 once no comparison is left."""
        verdicts, most = self.choice.verdicts, self.limits.most
        return sum(
            self.choice.numbers[point] < most
            and (point not in verdicts or verdicts[point].verdict == "undecided")
            for point, baseline in enumerate(self.baselines)
            if baseline is not None
        )

    @property
    def compared(self) -> int:
        """Number of points that are compared with a baseline."""
        return sum(baseline is not None for baseline in self.baselines)

    def records(self) -> list[dict[str, Any]]:
        """Convert each look whose trials are all over to a line of the sweep's log."""
        return [
            {
                "event": "seeds",
                "seeds": found[0].seeds if found else self.limits.least,
                "points": [self._record(one) for one in found],
            }
            for found in self.choice.history
        ]

    def _record(self, one: PointVerdict) -> dict[str, Any]:
        numbers = {"difference": one.difference, "low": one.low, "high": one.high, "p": one.p}
        return {
            "point": dict(self.points[one.point]),
            "verdict": one.verdict,
            "pairs": one.pairs,
            **{name: value for name, value in numbers.items() if math.isfinite(value)},
        }

    def describe(self) -> str:
        """Describe the decisions so far, in one line."""
        verdicts = [one.verdict for one in self.choice.verdicts.values()]
        looks = ", ".join(map(str, self.looks))
        text = f"seeds: {self.limits.least} to {self.limits.most} a point until decided"
        if not verdicts:
            return f"{text}; points are compared after {looks} seeds"
        decided, left = verdicts.count("decided"), verdicts.count("undecided")
        text += f"; {decided} of {self.compared} points decided"
        if left:
            names = [
                point_name(self.points[index], self.points[index].values())
                for index, one in self.choice.verdicts.items()
                if one.verdict == "undecided"
            ]
            ended = "" if self.may_grow else f" with {self.limits.most} seeds"
            text += f", {left} undecided{ended}: {'; '.join(names[:4])}"
            text += f"; {left - 4} more" if left > 4 else ""
        if lost := verdicts.count("not compared"):
            text += f"; {lost} not compared, as trials failed or nearly collapsed"
        return text


def allot_seeds(
    points: Points,
    identities: Sequence[str],
    limits: AdaptiveSeeds,
    value: Callable[[int, int], TrialValue],
    zips: Sequence[Sequence[str]] = (),
) -> PointSeeds:
    """Choose the seeds of each point.

    Args:
        points: Every point of the sweep, axis to value.
        identities: Of each point's trial with the first seed. Points with equal trials, e.g. at
            λ = 0, get equal seeds and are not compared with each other.
        limits: The declared numbers of seeds.
        value: Returns the state of a point's trial by point and index of the seed.
        zips: Groups of axes that take their values together.
    """
    baselines = _find_baselines(points, identities, zips)
    choice = choose_seeds(baselines, value, limits.least, limits.most)
    most: dict[str, int] = {}
    for identity, number in zip(identities, choice.numbers, strict=True):
        most[identity] = max(number, most.get(identity, 0))
    choice.numbers = [most[identity] for identity in identities]
    return PointSeeds(limits, points, baselines, choice)


def _find_baselines(
    points: Points, identities: Sequence[str], zips: Sequence[Sequence[str]]
) -> tuple[int | None, ...]:
    """Find each point's baseline, as the report has it: of its line the first level on x."""
    levels = {axis: [to_level(point[axis]) for point in points] for axis in points[0]}
    x = choose_x(list(levels), levels)
    rank = {level: number for number, level in enumerate(order_levels(levels[x]))}
    together = {x, *(axis for group in zips if x in group for axis in group)}
    others = [column for axis, column in levels.items() if axis not in together]
    lines = list(zip(*others, strict=True)) if others else [()] * len(points)
    first: dict[tuple[Any, ...], int] = {}
    for number, line in enumerate(lines):
        best = first.setdefault(line, number)
        if rank[levels[x][number]] < rank[levels[x][best]]:
            first[line] = number
    return tuple(
        None if identities[first[line]] == identities[number] else first[line]
        for number, line in enumerate(lines)
    )
