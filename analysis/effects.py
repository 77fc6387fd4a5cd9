"""The effect of one axis: a level against a baseline level, with the other axes held fixed.

Pairs are trials of equal seed that differ in this axis only. The differences of a seed at several
settings of the other axes share its initialization and data order, so they are not independent.
They are averaged within the seed first, and the interval is over seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
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
        at_baseline: Mean of the pairs' values at the baseline.
        at_level: Mean of the pairs' values at the level.
        change: Mean difference of the pairs.
        pairs: Number of pairs, over all settings and seeds.
        by_setting: Mean difference by setting of the other axes.
    """

    at_baseline: Estimate
    at_level: Estimate
    change: Estimate
    pairs: int
    by_setting: dict[Point, float]


@dataclass(frozen=True)
class Axis:
    """An axis of a comparison, without nearly collapsed points.

    Attributes:
        comparison: The trials.
        name: The axis, a dotted field.
    """

    comparison: Comparison
    name: str

    @cached_property
    def levels(self) -> list[Any]:
        """The levels with a finished trial at a point that is not nearly collapsed, in order."""
        present = {point[self._index] for point in self._usable_points}
        return [value for value in self.comparison.levels(self.name) if value in present]

    @cached_property
    def _index(self) -> int:
        return self.comparison.axes.index(self.name)

    @cached_property
    def other_axes(self) -> list[str]:
        """The axes of a setting, in order."""
        return self.comparison.other_axes(self.name)

    @cached_property
    def _others(self) -> list[bool]:
        others = set(self.other_axes)
        return [axis in others for axis in self.comparison.axes]

    @cached_property
    def _usable_points(self) -> list[Point]:
        comparison = self.comparison
        left_out = set(comparison.collapsed_points)
        return [
            point
            for point in comparison.points()
            if point not in left_out and comparison.has_finished(point)
        ]

    @cached_property
    def settings(self) -> dict[Point, dict[Any, Point]]:
        """For each setting of the other axes, its points by level of this axis.

        Axes that are zipped with this one change with it.
        """
        settings: dict[Point, dict[Any, Point]] = {}
        for point in self._usable_points:
            others = tuple(level for level, kept in zip(point, self._others, strict=True) if kept)
            settings.setdefault(others, {})[point[self._index]] = point
        return settings

    def effect(self, baseline: Any, value: Any, metric: str) -> Effect:
        """Compare ``value`` with ``baseline``, seed by seed at equal settings."""
        pairs = list(self._pairs(baseline, value, metric))
        by_seed: dict[int, list[tuple[float, float]]] = {}
        for _, seed, before, after in pairs:
            by_seed.setdefault(seed, []).append((before, after))
        means = [
            (fmean(before for before, _ in both), fmean(after for _, after in both))
            for both in by_seed.values()
        ]
        at_baseline = estimate([before for before, _ in means])
        at_level = estimate([after for _, after in means])
        change = estimate([after - before for before, after in means])
        changes: dict[Point, list[float]] = {}
        for setting, _, before, after in pairs:
            changes.setdefault(setting, []).append(after - before)
        by_setting = {setting: fmean(each) for setting, each in changes.items()}
        return Effect(at_baseline, at_level, change, len(pairs), by_setting)

    def _pairs(
        self, baseline: Any, value: Any, metric: str
    ) -> Iterator[tuple[Point, int, float, float]]:
        """Yield (setting, seed, value at the baseline, value at the level) of each pair."""
        for setting, points in self.settings.items():
            # One trial may have both levels: at λ = 0 the number of splits changes nothing.
            if not self._differ(points.get(baseline), points.get(value)):
                continue
            before = self.comparison.by_seed(points[baseline], metric)
            after = self.comparison.by_seed(points[value], metric)
            for seed in before:
                if seed in after:
                    yield setting, seed, before[seed], after[seed]

    def _differ(self, one: Point | None, other: Point | None) -> bool:
        if one is None or other is None:
            return False
        return self.comparison.trial_ids(one) != self.comparison.trial_ids(other)

    def trend(self, metric: str) -> Trend:
        """Compute Spearman's ρ of a metric over a numeric axis, one value for a level and seed.

        With other axes, a value is the mean over the settings that have every level and seed.
        Then every setting has equal weight at every level.
        """
        if len(self.settings) == 1:
            (points,) = self.settings.values()
            pairs = [
                (level, value)
                for level, point in points.items()
                for value in self.comparison.by_seed(point, metric).values()
            ]
        else:
            pairs = self._means_over_settings(metric)
        return spearman([x for x, _ in pairs], [y for _, y in pairs])

    def _means_over_settings(self, metric: str) -> list[tuple[Any, float]]:
        """Return (level, mean over the complete settings) for each level and seed."""
        seeds_of = {
            setting: self._common_seeds(points, metric)
            for setting, points in self.settings.items()
            if set(points) == set(self.levels)
        }
        seeds = set.union(set(), *seeds_of.values())
        complete = [self.settings[setting] for setting, has in seeds_of.items() if has == seeds]
        return [
            (
                level,
                fmean(self.comparison.by_seed(points[level], metric)[seed] for points in complete),
            )
            for level in self.levels
            for seed in sorted(seeds)
            if complete
        ]

    def _common_seeds(self, points: dict[Any, Point], metric: str) -> set[int]:
        return set.intersection(
            *(set(self.comparison.by_seed(point, metric)) for point in points.values())
        )


def build_effect_table(axis: Axis, baseline: Any, metrics: list[str]) -> pd.DataFrame:
    """Make a row for each level and metric: its paired difference to the baseline.

    Args:
        axis: The axis.
        baseline: The level to compare with.
        metrics: The metrics.

    Returns:
        Columns: the axis, ``metric``, ``baseline`` and ``mean`` over the pairs' seeds,
        ``difference``, ``low`` and ``high`` of its 95 % t-interval, ``n`` seeds, ``pairs``.
    """
    rows = [
        {
            axis.name: level,
            "metric": metric,
            "baseline": effect.at_baseline.mean,
            "mean": effect.at_level.mean,
            "difference": effect.change.mean,
            "low": effect.change.low,
            "high": effect.change.high,
            "n": effect.change.n,
            "pairs": effect.pairs,
        }
        for level in axis.levels
        if level != baseline
        for metric in metrics
        if (effect := axis.effect(baseline, level, metric)).change.n
    ]
    columns = ["metric", "baseline", "mean", "difference", "low", "high", "n", "pairs"]
    return pd.DataFrame(rows, columns=[axis.name, *columns])
