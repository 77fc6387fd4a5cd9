"""The answer of a sweep in sentences and tables: of the report, the terminal and MLflow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from analysis.best_point import BestPoint
from analysis.comparison import Comparison, Point
from analysis.effects import Axis, Effect
from analysis.labels import axis_label, metric_label, point_name, short_metric_label
from analysis.level_words import Sentence, describe_levels
from analysis.levels import is_number
from analysis.statistics import Estimate, Trend, estimate
from analysis.wording import better_direction, expected_by_chance, judge, quality
from care.config.metrics import COLLAPSE

HEADLINES = (
    "head/gamma",
    "head/wahba_per_sqrt_n",
    "head/wahba_over_movement",
    "head/ranking_mrr",
    "head/hue_r2",
    "encoder/hue_r2",
    "encoder/probe_accuracy",
    "head/probe_accuracy",
    "heldout/uniformity",
)
_MOST_LEVELS = 24  # of an axis of numbers that is described level by level
_MOST_RIVALS = 100  # points that are compared with the best one
_MOST_NAMES = 4
_MOST_LISTED = 8  # points in a sentence; tables and summary.json have them all
_LINES = 3  # sentences of a headline


@dataclass(frozen=True)
class Finding:
    """The change of one measure between the baseline and another level of an axis.

    Attributes:
        title: The measure and its space.
        level: Label of the other level.
        at_baseline: Mean at the baseline, over the pairs.
        at_level: Mean at the other level, over the pairs.
        change: The difference, paired by seed.
        verdict: rises, falls, or the reason for neither; whether that is better or worse.
        quality: ``better`` or ``worse``; empty if neither is clear.
        trend: Spearman's ρ over all finished trials, as text; empty for an axis of names.
        by_setting: Range of the difference over the other axes; empty for a single setting.
    """

    title: str
    level: str
    at_baseline: Estimate
    at_level: Estimate
    change: Estimate
    verdict: str
    quality: str
    trend: str
    by_setting: str


@dataclass(frozen=True)
class AxisAnswer:
    """The effect of one axis.

    Attributes:
        axis: Its label.
        baseline: Label of its baseline level.
        others: Labels of the axes that differences are averaged over; empty with a single axis.
        sentences: The effect on each measure over all levels, the sweep's metric first.
        findings: The numbers: of the last level, or of every level of an axis of names.
        numeric: Whether the findings have trends.
    """

    axis: str
    baseline: str
    others: str
    sentences: list[Sentence]
    findings: list[Finding]
    numeric: bool

    @property
    def headline(self) -> list[str]:
        """The sentence on the sweep's metric, then those on other measures that change."""
        chief, *others = self.sentences
        return [chief.line, *(one.line for one in others if one.clear)][:_LINES]


@dataclass(frozen=True)
class Answer:
    """The answer of a sweep.

    Attributes:
        best: Sentences on the best point by the sweep's metric, or on why there is none.
        collapsed: A sentence on the points left out as nearly collapsed; empty without any.
        axes: The axes that can be compared.
        not_compared: A sentence for each axis of several levels that cannot be compared.
        chance: A sentence on the number of comparisons; empty without any.
    """

    best: str
    collapsed: str
    axes: list[AxisAnswer]
    not_compared: list[str]
    chance: str

    @property
    def headline(self) -> str:
        """One line: the effect of the axis on x; without one, the best point."""
        return "; ".join(self.axes[0].headline) if self.axes else self.best

    @property
    def lines(self) -> list[str]:
        """The answer for a terminal: the sweep's metric by axis, the best point, collapse."""
        several = len(self.axes) > 1
        lines = [
            f"{f'{axis.axis}: ' if several else ''}{sentence}"
            for axis in self.axes
            for sentence in (axis.headline[:1] if several else axis.headline)
        ]
        lines += [self.best, *self.not_compared]
        lines += [f"⚠ {self.collapsed}"] if self.collapsed else []
        return [*lines, *([self.chance] if self.chance else [])]


def answer(comparison: Comparison) -> Answer | None:
    """Answer the sweep's question from its finished trials; None if there are none."""
    if comparison.done.empty:
        return None
    axes = {name: _axis_answer(comparison, name) for name in comparison.axes}
    missing = [
        f"{axis_label(name)} is not compared: no two of its levels have finished trials of one "
        "seed at points that are not nearly collapsed and are different trials."
        for name, effect in axes.items()
        if effect is None and len(comparison.levels(name)) > 1
    ]
    compared = [effect for effect in axes.values() if effect is not None]
    best, rivals = _describe_best(comparison)
    number = rivals + sum(one.comparisons for axis in compared for one in axis.sentences)
    chance = expected_by_chance(number)
    return Answer(best, _describe_collapsed(comparison), compared, missing, chance)


def _describe_best(comparison: Comparison) -> tuple[str, int]:
    """Describe the best point and those that are not clearly worse; count the comparisons."""
    best, name = comparison.best_point(), _name_of_metric(comparison)
    if best.point is None or best.mean is None:
        long = metric_label(comparison.metric)
        why = "all are nearly collapsed" if best.collapsed else f"none has measured {long}"
        return f"There is no best point: {why}.", 0
    values = comparison.by_seed(best.point, comparison.metric)
    mean = estimate([values[seed] for seed in best.seeds])
    compared = len(best.compared)
    point = point_name(comparison.axes, best.point)
    rivals = 0
    stopped = [other for other in best.other_seeds if other in comparison.stopped_points]
    others = [other for other in best.other_seeds if other not in stopped]
    if compared == 1 and stopped:
        text = f"Best by {name} is {point}: {mean.value} ({mean.interval})."
    elif compared == 1:
        text = f"Only {point} can be judged by {name}: {mean.value} ({mean.interval})."
    else:
        seeds = _count_seeds(best.seeds)
        text = (
            f"Best by {name} is {point}: {mean.value} ({mean.interval}), of {compared} points with "
            f"{seeds}. "
        )
        rivals = min(compared - 1, _MOST_RIVALS) if len(best.seeds) > 1 else 0
        text += _describe_rivals(comparison, best)
    if stopped:
        text += f" Worse, so stopped after fewer seeds: {_list_points(comparison, stopped)}."
    if others:
        text += f" Not compared, as n differs: {_list_points(comparison, others)}."
    return text, rivals


def _name_of_metric(comparison: Comparison) -> str:
    metric, mode = comparison.metric, comparison.mode
    short = short_metric_label(metric).removesuffix(" (↓)").removesuffix(" (↑)")
    return f"{short} ({'larger' if mode == 'max' else 'smaller'} is better)"


def _describe_rivals(comparison: Comparison, best: BestPoint[Point]) -> str:
    """Name the points that are not clearly worse than the best one, paired by seed."""
    if len(best.seeds) == 1:
        return "One seed cannot separate points."
    first, *others = best.compared[: _MOST_RIVALS + 1]
    lead = comparison.by_seed(first, comparison.metric)
    close = []
    for point in others:
        values = comparison.by_seed(point, comparison.metric)
        gap = estimate([lead[seed] - values[seed] for seed in best.seeds])
        if not gap.excludes_zero:
            close.append(f"{point_name(comparison.axes, point)} ({_gap(gap)} behind)")
    if not close:
        every = "The other point is" if len(others) == 1 else "All others are"
        return f"{every} clearly worse."
    more = len(close) - _MOST_NAMES
    listed = "; ".join(close[:_MOST_NAMES]) + (f"; {more} more" if more > 0 else "")
    some = f", of the {len(others)} next" if len(best.compared) - 1 > len(others) else ""
    return f"Not clearly worse{some}: {listed}."


def _gap(gap: Estimate) -> str:
    """Format the distance of two means and its interval, without a sign."""
    distance = Estimate(abs(gap.mean), math.nan, math.nan, gap.n, gap.digits)
    return f"{distance.value} {gap.interval.partition(',')[0]}"


def _count_seeds(seeds: tuple[int, ...]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} common seeds"


def _describe_collapsed(comparison: Comparison) -> str:
    points = comparison.collapsed_points
    if not points:
        return ""
    return (
        f"Left out as nearly collapsed (uniformity of {COLLAPSE:g} or more after the last epoch): "
        f"{_list_points(comparison, points, collapse=True)}. Where all embeddings are nearly one "
        "point, augmentations can hardly move them, and small residuals say little."
    )


def _list_points(comparison: Comparison, points: list[Point], *, collapse: bool = False) -> str:
    names, more = [], len(points) - _MOST_LISTED
    for point in points[:_MOST_LISTED]:
        name = point_name(comparison.axes, point)
        collapsed = len(comparison.collapsed_seeds(point))
        finished = comparison.finished_trials(point)
        part = f" ({collapsed} of {finished} seeds)" if collapse and collapsed < finished else ""
        names.append(name + part)
    return "; ".join(names) + (f"; … and {more} more" if more > 0 else "")


def _axis_answer(comparison: Comparison, name: str) -> AxisAnswer | None:
    axis = Axis(comparison, name)
    if len(axis.levels) < 2:
        return None
    numeric = all(map(is_number, comparison.levels(name)))
    baseline, *others = axis.levels
    described = others[-1:] if numeric and len(others) > _MOST_LEVELS else others
    sentences, findings = [], []
    metrics = filter(comparison.has_values, dict.fromkeys([comparison.metric, *HEADLINES]))
    for metric in metrics:
        effects = {level: axis.effect(baseline, level, metric) for level in described}
        better = better_direction(metric, comparison.metric, comparison.mode)
        sentence = describe_levels(axis, baseline, effects, metric, better, numeric=numeric)
        if sentence is None:
            continue
        sentences.append(sentence)
        # An axis of many names gets the sweep's metric only: tables and figures have the rest.
        if numeric or len(others) == 1 or metric == comparison.metric:
            shown = described[-1:] if numeric else described
            findings += [
                _make_finding(axis, level, effects[level], metric, numeric=numeric)
                for level in shown
                if effects[level].change.n
            ]
    if not sentences:
        return None
    return AxisAnswer(
        axis_label(name),
        point_name([name], [baseline]),
        ", ".join(map(axis_label, comparison.other_axes(name))),
        sentences,
        findings,
        numeric,
    )


def _make_finding(axis: Axis, level: Any, effect: Effect, metric: str, *, numeric: bool) -> Finding:
    comparison = axis.comparison
    better = better_direction(metric, comparison.metric, comparison.mode)
    return Finding(
        title=metric_label(metric),
        level=point_name([axis.name], [level]),
        at_baseline=effect.at_baseline,
        at_level=effect.at_level,
        change=effect.change,
        verdict=judge(effect.change, better, ("rises", "falls")),
        quality=quality(effect.change, better),
        trend=_format_trend(axis.trend(metric)) if numeric else "",
        by_setting=_describe_range(axis, effect),
    )


def _format_trend(trend: Trend) -> str:
    if math.isnan(trend.rho):
        reason = "fewer than 3 values" if trend.n < 3 else "it does not vary"
        return f"– ({reason})"
    return f"{trend.rho:+.2f} (n = {trend.n})".replace("-", "−")


def _describe_range(axis: Axis, effect: Effect) -> str:
    """Name the settings with the smallest and the largest mean difference."""
    others = axis.other_axes
    if not others or not effect.by_setting:
        return ""
    if len(effect.by_setting) == 1:
        (only,) = effect.by_setting
        return f"{point_name(others, only)} only"
    ends = [choose(effect.by_setting, key=effect.by_setting.__getitem__) for choose in (min, max)]
    values = [estimate([effect.by_setting[end]]).value for end in ends]
    if values[0] == values[1]:
        return f"{len(effect.by_setting)} settings: {values[0]} at each"
    texts = [
        f"{value} at {point_name(others, end)}" for value, end in zip(values, ends, strict=True)
    ]
    return f"{len(effect.by_setting)} settings: from {texts[0]} to {texts[1]}"
