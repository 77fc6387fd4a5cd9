"""The report's answer in sentences and tables, computed from the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from analysis.comparison import Comparison, Point
from analysis.effects import Axis, Effect
from analysis.labels import axis_label, metric_label, point_name
from analysis.levels import is_number
from analysis.statistics import Estimate, Trend, estimate
from care.config.metrics import COLLAPSE

_HEADLINES = (
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
    """What happens to one measure between a baseline level and another level of an axis.

    Attributes:
        title: The measure and its space.
        level: The other level, for people.
        at_baseline: Its mean at the baseline, over the pairs.
        at_level: Its mean at the other level, over the pairs.
        change: The difference, paired by seed.
        verdict: rises, falls, or why neither can be said.
        trend: Spearman's ρ over all finished trials, in words; empty for an axis of names.
        by_setting: How far the difference depends on the other axes; empty for a single setting.
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
    """What one axis does.

    Attributes:
        axis: Its name for people.
        baseline: Its baseline level, for people.
        others: What the differences are averaged over; empty with a single axis.
        findings: The sweep's metric first.
        numeric: Whether there are trends.
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
        best: A sentence on the best point by the sweep's metric, or why there is none.
        collapsed: A sentence on the points left out as next to collapse; empty without any.
        axes: Each axis with two levels or more that can be compared.
        not_compared: A sentence for each axis of several levels that cannot.
    """

    best: str
    collapsed: str
    axes: list[AxisAnswer]
    not_compared: list[str]


def answer(comparison: Comparison) -> Answer | None:
    """Return what the sweep shows; None before a trial is finished."""
    if comparison.done.empty:
        return None
    axes = {name: _axis_answer(comparison, name) for name in comparison.axes}
    missing = [
        f"{axis_label(name)} is not compared: no two of its levels have finished trials of one "
        "seed at points that are not next to collapse and are different trials."
        for name, found in axes.items()
        if found is None and len(comparison.levels(name)) > 1
    ]
    kept = [found for found in axes.values() if found is not None]
    return Answer(_best(comparison), _collapsed(comparison), kept, missing)


def _best(comparison: Comparison) -> str:
    """The best point, how far the next one is away, and which points were not compared."""
    elected, name = comparison.election(), metric_label(comparison.metric)
    if elected.point is None or elected.mean is None:
        why = "all are next to collapse" if elected.collapsed else f"none has measured {name}"
        return f"No point is elected: {why}."
    values = comparison.values(elected.point, comparison.metric)
    mean = estimate([values[seed] for seed in elected.seeds])
    compared, least = len(elected.compared), "largest" if comparison.mode == "max" else "smallest"
    here = point_name(comparison.axes, elected.point)
    if compared == 1:
        text = f"Only {here} can be judged by {name}: {mean.value} ({mean.interval})."
    else:
        text = (
            f"Of {compared} points that share {_seeds(elected.seeds)}, {here} has the {least} "
            f"mean of {name}: {mean.value} ({mean.interval}). " + _runner_up(comparison, elected)
        )
    if elected.other_seeds:
        names = _names(comparison, list(elected.other_seeds))
        text += f" Not compared, as n differs: {names}."
    return text


def _runner_up(comparison: Comparison, elected: Any) -> str:
    first, second = elected.compared[:2]
    values = [comparison.values(point, comparison.metric) for point in (first, second)]
    gap = estimate([values[0][seed] - values[1][seed] for seed in elected.seeds])
    name = point_name(comparison.axes, second)
    if gap.n == 1:
        return f"The next is {name}; one seed cannot tell the two apart."
    clear = "a clear difference" if gap.excludes_zero else "no clear difference"
    return f"The next is {name}, {gap.value} ({gap.interval}) away seed by seed: {clear}."


def _seeds(seeds: tuple[int, ...]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"


def _collapsed(comparison: Comparison) -> str:
    points = comparison.collapsed_points
    if not points:
        return ""
    return (
        f"Left out as next to collapse (uniformity of {COLLAPSE:g} or more after the last epoch): "
        f"{_names(comparison, points, collapse=True)}. Where all embeddings are nearly one point, "
        "augmentations can hardly move them, and small residuals say little."
    )


def _names(comparison: Comparison, points: list[Point], *, collapse: bool = False) -> str:
    names = []
    for point in points:
        name = point_name(comparison.axes, point)
        bad, there = len(comparison.collapsed(point)), comparison.finished_trials(point)
        part = f" ({bad} of {there} seeds)" if collapse and bad < there else ""
        names.append(name + part)
    return "; ".join(names)


def _axis_answer(comparison: Comparison, name: str) -> AxisAnswer | None:
    axis = Axis(comparison, name)
    if len(axis.levels) < 2:
        return None
    numeric = all(map(is_number, comparison.levels(name)))
    baseline, *others = axis.levels
    others = others[-1:] if numeric else others
    # Of an axis of many names the sweep's metric says enough: tables and figures have the rest.
    more = _HEADLINES if len(others) == 1 else ()
    metrics = list(dict.fromkeys([comparison.metric, *more]))
    findings = [
        _finding(axis, baseline, value, metric, numeric=numeric)
        for metric in metrics
        for value in others
    ]
    found = [finding for finding in findings if finding.change.n]
    if not found:
        return None
    return AxisAnswer(
        axis_label(name),
        point_name([name], [baseline]),
        ", ".join(axis_label(other) for other in comparison.axes if other != name),
        found,
        numeric,
    )


def _finding(axis: Axis, baseline: Any, value: Any, metric: str, *, numeric: bool) -> Finding:
    effect = axis.effect(baseline, value, metric)
    return Finding(
        title=metric_label(metric),
        level=point_name([axis.name], [value]),
        at_baseline=effect.at_baseline,
        at_level=effect.at_level,
        change=effect.change,
        verdict=_verdict(effect.change),
        trend=_trend(axis.trend(metric)) if numeric else "",
        by_setting=_by_setting(axis, effect),
    )


def _verdict(change: Estimate) -> str:
    if change.n == 1:
        return "one seed only: no interval"
    if not change.excludes_zero:
        return "no clear change"
    return "rises" if change.mean > 0 else "falls"


def _trend(trend: Trend) -> str:
    if math.isnan(trend.rho):
        reason = "fewer than 3 values" if trend.n < 3 else "it does not vary"
        return f"– ({reason})"
    return f"{trend.rho:+.2f} (n = {trend.n})".replace("-", "−")


def _by_setting(axis: Axis, effect: Effect) -> str:
    """The settings with the smallest and the largest mean difference."""
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
