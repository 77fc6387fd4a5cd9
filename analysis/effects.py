"""The effect of one axis: a level against a baseline level, with the other axes held.

Pairs are trials of equal seed that differ in this axis only. A seed's differences at several
settings of the other axes share its initialization and data order, so they are no independent
values: they are averaged within the seed first, and the interval is over seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import pandas as pd

from analysis.comparison import Comparison, Point
from analysis.statistics import Estimate, Trend, estimate, spearman


@dataclass(frozen=True)
class Effect:
    """One metric at a level of an axis against the baseline level.

    Attributes:
        at_baseline: The mean over the pairs' baseline values.
        at_level: The mean over the pairs' values at the level.
        change: The mean difference of pairs.
        pairs: Pairs, over all settings and seeds.
        by_setting: For each setting of the other axes that has pairs its mean difference.
    """

    at_baseline: Estimate
    at_level: Estimate
    change: Estimate
    pairs: int
    by_setting: dict[Point, float]


@dataclass(frozen=True)
class Axis:
    """An axis of a comparison, without the points next to collapse.

    Attributes:
        comparison: The trials.
        name: The axis, a dotted field.
    """

    comparison: Comparison
    name: str

    @cached_property
    def levels(self) -> list[Any]:
        """The levels with a finished trial at a point that is not next to collapse, in order."""
        there = {point[self._place] for point in self._valued}
        return [value for value in self.comparison.levels(self.name) if value in there]

    @cached_property
    def _place(self) -> int:
        return self.comparison.axes.index(self.name)

    @cached_property
    def _valued(self) -> list[Point]:
        comparison = self.comparison
        left_out = set(comparison.collapsed_points)
        return [
            point
            for point in comparison.points()
            if point not in left_out and comparison.has_finished(point)
        ]

    def settings(self) -> dict[Point, dict[Any, Point]]:
        """For each setting of the other axes its points by level of this axis."""
        found: dict[Point, dict[Any, Point]] = {}
        for point in self._valued:
            others = (*point[: self._place], *point[self._place + 1 :])
            found.setdefault(others, {})[point[self._place]] = point
        return found

    def effect(self, baseline: Any, value: Any, metric: str) -> Effect:
        """Compare ``value`` with ``baseline``, seed by seed at equal settings."""
        pairs: list[tuple[Point, int, float, float]] = []
        for setting, points in self.settings().items():
            # One trial may stand for both: splits, for one, does nothing at λ = 0.
            if self._differ(points.get(baseline), points.get(value)):
                before = self.comparison.values(points[baseline], metric)
                after = self.comparison.values(points[value], metric)
                pairs += [
                    (setting, int(seed), float(before[seed]), float(after[seed]))
                    for seed in before.index.intersection(after.index)
                ]
        columns = ["setting", "seed", "before", "after"]
        table = pd.DataFrame(pairs, columns=columns).astype({"before": float, "after": float})
        table["change"] = table["after"] - table["before"]
        by_seed = table.groupby("seed")[["before", "after", "change"]].mean()
        at_baseline, at_level, change = (
            estimate(by_seed[name].tolist()) for name in ("before", "after", "change")
        )
        by_setting = {
            setting: fmean(after - before for where, _, before, after in pairs if where == setting)
            for setting in dict.fromkeys(setting for setting, *_ in pairs)
        }
        return Effect(at_baseline, at_level, change, len(pairs), by_setting)

    def _differ(self, one: Point | None, other: Point | None) -> bool:
        if one is None or other is None:
            return False
        return self.comparison.trial_ids(one) != self.comparison.trial_ids(other)

    def trend(self, metric: str) -> Trend:
        """Spearman's ρ of a metric over a numeric axis, a value a level and seed.

        With other axes, a value is the mean over the settings that have every level and seed, so
        that no setting weighs more at one level than at another.
        """
        seeds_of = {
            setting: self._common_seeds(points, metric)
            for setting, points in self.settings().items()
            if set(points) == set(self.levels)
        }
        seeds = set.union(set(), *seeds_of.values())
        if len(self.settings()) == 1:
            (points,) = self.settings().values()
            pairs = [
                (level, value)
                for level, point in points.items()
                for value in self.comparison.values(point, metric)
            ]
        else:
            whole = [setting for setting, found in seeds_of.items() if found == seeds]
            pairs = [
                (
                    level,
                    fmean(
                        self.comparison.values(self.settings()[setting][level], metric)[seed]
                        for setting in whole
                    ),
                )
                for level in self.levels
                for seed in sorted(seeds)
                if whole
            ]
        return spearman([x for x, _ in pairs], [y for _, y in pairs])

    def _common_seeds(self, points: dict[Any, Point], metric: str) -> set[int]:
        return set.intersection(
            *(set(self.comparison.values(point, metric).index) for point in points.values())
        )
