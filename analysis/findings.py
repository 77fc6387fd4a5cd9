"""The report's answer in sentences and tables, computed from the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from analysis.best_point import BestPoint
from analysis.comparison import Comparison, Point
from analysis.effects import Axis, Effect
from analysis.labels import axis_label, metric_label, point_name
from analysis.levels import is_number
from analysis.statistics import Estimate, Trend, estimate
from care.config.metrics import COLLAPSE

HEADLINES = (
    "head/gamma",
    "head/wahba_per_sqrt_n",
    "head/hue_r2",
    "encoder/hue_r2",
    "encoder/probe_accuracy",
    "head/probe_accuracy",
    "heldout/uniformity",
)


@dataclass(frozen=True)
class Finding:
    """The change of one measure between the baseline and another level of an axis.

    Attributes:
        title: The measure and its space.
        level: Label of the other level.
        at_baseline: Mean at the baseline, over the pairs.
        at_level: Mean at the other level, over the pairs.
        change: The difference, paired by seed.
        verdict: rises, falls, or the reason for neither.
        trend: Spearman's ρ over all finished trials, as text; empty for an axis of names.
        by_setting: Range of the difference over the other axes; empty for a single setting.
    """

    title: str
    level: str
    at_baseline: Estimate
    at_level: Estimate
    change: Estimate
    verdict: str
    trend: str
    by_setting: str


@dataclass(frozen=True)
class AxisAnswer:
    """The effect of one axis.

    Attributes:
        axis: Its label.
        baseline: Label of its baseline level.
        others: Labels of the axes that differences are averaged over; empty with a single axis.
        findings: The sweep's metric first.
        numeric: Whether the findings have trends.
    """

    axis: str
    baseline: str
    others: str
    findings: list[Finding]
    numeric: bool


@dataclass(frozen=True)
class Answer:
    """The report's answer.

    Attributes:
        best: A sentence on the best point by the sweep's metric, or on why there is none.
        collapsed: A sentence on the points left out as nearly collapsed; empty without any.
        axes: The axes that can be compared.
        not_compared: A sentence for each axis of several levels that cannot be compared.
    """

    best: str
    collapsed: str
    axes: list[AxisAnswer]
    not_compared: list[str]


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
    return Answer(_describe_best(comparison), _describe_collapsed(comparison), compared, missing)


def _describe_best(comparison: Comparison) -> str:
    """Describe the best point, its distance to the next, and the points left out."""
    best, name = comparison.best_point(), metric_label(comparison.metric)
    if best.point is None or best.mean is None:
        why = "all are nearly collapsed" if best.collapsed else f"none has measured {name}"
        return f"There is no best point: {why}."
    values = comparison.values(best.point, comparison.metric)
    mean = estimate([values[seed] for seed in best.seeds])
    compared, extreme = len(best.compared), "largest" if comparison.mode == "max" else "smallest"
    point = point_name(comparison.axes, best.point)
    if compared == 1:
        text = f"Only {point} can be judged by {name}: {mean.value} ({mean.interval})."
    else:
        text = (
            f"Of {compared} points that share {_count_seeds(best.seeds)}, {point} has the {extreme}"
            f" mean of {name}: {mean.value} ({mean.interval}). "
            + _describe_runner_up(comparison, best)
        )
    if best.other_seeds:
        names = _list_points(comparison, list(best.other_seeds))
        text += f" Not compared, as n differs: {names}."
    return text


def _describe_runner_up(comparison: Comparison, best: BestPoint[Point]) -> str:
    first, second = best.compared[:2]
    values = [comparison.values(point, comparison.metric) for point in (first, second)]
    gap = estimate([values[0][seed] - values[1][seed] for seed in best.seeds])
    name = point_name(comparison.axes, second)
    if gap.n == 1:
        return f"The next is {name}; one seed cannot separate the two."
    clear = "a clear difference" if gap.excludes_zero else "no clear difference"
    return f"The next is {name}, {gap.value} ({gap.interval}) away seed by seed: {clear}."


def _count_seeds(seeds: tuple[int, ...]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"


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
    names = []
    for point in points:
        name = point_name(comparison.axes, point)
        collapsed = len(comparison.collapsed_seeds(point))
        finished = comparison.finished_trials(point)
        part = f" ({collapsed} of {finished} seeds)" if collapse and collapsed < finished else ""
        names.append(name + part)
    return "; ".join(names)


def _axis_answer(comparison: Comparison, name: str) -> AxisAnswer | None:
    axis = Axis(comparison, name)
    if len(axis.levels) < 2:
        return None
    numeric = all(map(is_number, comparison.levels(name)))
    baseline, *others = axis.levels
    others = others[-1:] if numeric else others
    # An axis of many names gets the sweep's metric only: tables and figures have the rest.
    more = HEADLINES if len(others) == 1 else ()
    metrics = list(dict.fromkeys([comparison.metric, *more]))
    findings = [
        finding
        for metric in metrics
        for value in others
        if (finding := _make_finding(axis, baseline, value, metric, numeric=numeric)).change.n
    ]
    if not findings:
        return None
    return AxisAnswer(
        axis_label(name),
        point_name([name], [baseline]),
        ", ".join(axis_label(other) for other in comparison.axes if other != name),
        findings,
        numeric,
    )


def _make_finding(axis: Axis, baseline: Any, value: Any, metric: str, *, numeric: bool) -> Finding:
    effect = axis.effect(baseline, value, metric)
    return Finding(
        title=metric_label(metric),
        level=point_name([axis.name], [value]),
        at_baseline=effect.at_baseline,
        at_level=effect.at_level,
        change=effect.change,
        verdict=_judge(effect.change),
        trend=_format_trend(axis.trend(metric)) if numeric else "",
        by_setting=_describe_range(axis, effect),
    )


def _judge(change: Estimate) -> str:
    if change.n == 1:
        return "one seed only: no interval"
    if not change.excludes_zero:
        return "no clear change"
    return "rises" if change.mean > 0 else "falls"


def _format_trend(trend: Trend) -> str:
    if math.isnan(trend.rho):
        reason = "fewer than 3 values" if trend.n < 3 else "it does not vary"
        return f"– ({reason})"
    return f"{trend.rho:+.2f} (n = {trend.n})".replace("-", "−")


def _describe_range(axis: Axis, effect: Effect) -> str:
    """Name the settings with the smallest and the largest mean difference."""
    others = [name for name in axis.comparison.axes if name != axis.name]
    if not others or not effect.by_setting:
        return ""
    if len(effect.by_setting) == 1:
        (only,) = effect.by_setting
        return f"{point_name(others, only)} only"
    ends = [choose(effect.by_setting, key=effect.by_setting.__getitem__) for choose in (min, max)]
    texts = [
        f"{estimate([effect.by_setting[end]]).value} at {point_name(others, end)}" for end in ends
    ]
    return f"{len(effect.by_setting)} settings: from {texts[0]} to {texts[1]}"
