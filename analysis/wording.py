"""The words for a difference: its direction, and whether that is better."""

from __future__ import annotations

from typing import Literal

from analysis.labels import CURVES, measure_label
from analysis.statistics import Estimate
from care.registry import SPACES

NO_DIFFERENCE = "no clear difference"
ONE_SEED = "one seed only: no interval"


def better_direction(metric: str, chief: str = "", mode: Literal["max", "min"] = "max") -> str:
    """Return ``↑`` or ``↓``, the better direction of a metric; empty if there is none.

    Args:
        metric: The metric.
        chief: The sweep's metric, whose direction the sweep declares.
        mode: That direction.
    """
    if metric == chief:
        return "↑" if mode == "max" else "↓"
    space, _, measure = metric.partition("/")
    if space in SPACES:
        return measure_label(measure).better
    return CURVES[metric].better if metric in CURVES else ""


def quality(change: Estimate, better: str) -> str:
    """Return ``better`` or ``worse`` for a clear difference; empty without a better direction."""
    if not better or not change.excludes_zero:
        return ""
    return "better" if (change.mean > 0) == (better == "↑") else "worse"


def judge(change: Estimate, better: str, words: tuple[str, str] = ("higher", "lower")) -> str:
    """Describe a paired difference: ``lower, which is better``, or the reason for no verdict.

    Args:
        change: The difference.
        better: The better direction of its metric.
        words: The words for a positive and a negative difference.
    """
    if change.n == 0:
        return "not measured in pairs"
    if change.low == change.high == 0:
        return "equal in every pair"
    if change.n == 1:
        return ONE_SEED
    if not change.excludes_zero:
        return NO_DIFFERENCE
    word = words[0] if change.mean > 0 else words[1]
    judged = quality(change, better)
    return f"{word}, which is {judged}" if judged else word


def signed(change: Estimate) -> str:
    """Format a difference with its sign and interval: ``−0.24 ± 0.10``."""
    sign = "" if change.value.startswith("−") or change.n == 0 else "+"
    interval = change.interval.partition(",")[0] if change.n > 1 else ""
    return f"{sign}{change.value} {interval}".strip()


def expected_by_chance(comparisons: int) -> str:
    """Return the sentence on the number of comparisons; empty without any."""
    if not comparisons:
        return ""
    if comparisons == 1:
        return "One comparison was made, at 95 %."
    number = 0.05 * comparisons
    about = f"about {number:.0f}" if number >= 1.5 else "one" if number >= 0.5 else "hardly one"
    return (
        f"{comparisons} comparisons were made, each at 95 %, without a correction for their "
        f"number: if nothing had an effect, {about} would still look clear."
    )
