"""The report's answer in sentences, computed from the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.comparison import Comparison, Point
from analysis.labels import metric_label, point_name
from analysis.statistics import Estimate, spearman

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
    """What happens to one measure between the baseline and the far end of the axis.

    Attributes:
        title: The measure and its space.
        at_baseline: Its mean there.
        at_end: Its mean at the far end.
        change: The difference, paired by seed.
        verdict: rises, falls, or no clear change.
        trend: Spearman's ρ over all finished trials, in words.
    """

    title: str
    at_baseline: Estimate
    at_end: Estimate
    change: Estimate
    verdict: str
    trend: str


def findings(comparison: Comparison) -> list[Finding]:
    """A finding for each headline measure with values at both ends of the first line."""
    if not comparison.numeric:
        return []
    line = next(iter(comparison.lines().values()))
    if len(line) < 2:
        return []
    found = [_finding(comparison, line, metric) for metric in _HEADLINES]
    return [finding for finding in found if finding.change.n]


def _finding(comparison: Comparison, line: list[Point], metric: str) -> Finding:
    change = comparison.difference(line[-1], metric)
    return Finding(
        title=metric_label(metric),
        at_baseline=comparison.mean(line[0], metric),
        at_end=comparison.mean(line[-1], metric),
        change=change,
        verdict=_verdict(change),
        trend=_trend(comparison, line, metric),
    )


def _verdict(change: Estimate) -> str:
    if math.isnan(change.low):
        return "one seed only: no interval"
    if not change.excludes_zero:
        return "no clear change"
    return "rises" if change.mean > 0 else "falls"


def _trend(comparison: Comparison, line: list[Point], metric: str) -> str:
    pairs = [(point[0], value) for point in line for value in comparison.values(point, metric)]
    trend = spearman([x for x, _ in pairs], [y for _, y in pairs])
    if math.isnan(trend.rho):
        return f"– (n = {trend.n})"
    return f"{trend.rho:+.2f} (n = {trend.n})".replace("-", "−")


def span(comparison: Comparison) -> tuple[str, str] | None:
    """The two ends that findings compare, for people: ``λ = 0`` and ``λ = 1``."""
    line = next(iter(comparison.lines().values()), [])
    if not comparison.numeric or len(line) < 2:
        return None
    return point_name(comparison.axes, line[0]), point_name(comparison.axes, line[-1])
