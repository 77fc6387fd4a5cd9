"""The importance of a sweep's axes in sentences."""

from __future__ import annotations

import math

from analysis.importance import AxisImportance, Ranking
from analysis.labels import short_metric_label


def describe_importance(ranking: Ranking) -> str:
    """Describe the most important axis in one sentence, and how sure its rank is."""
    first, *others = ranking.rows
    text = f"For {short_metric_label(ranking.metric)}, {first.label} matters most: {_text(first)}"
    if others:
        text += f", before {others[0].label} with {_text(others[0])}"
    if ranking.resamples and others:
        text += f". It is first in {100 * first.first:.0f} % of the resamples"
    return f"{text}."


def _text(row: AxisImportance) -> str:
    return f"{row.share:.2f}" + ("" if math.isnan(row.low) else f" ({row.interval})")


def explain_method(ranking: Ranking) -> str:
    """Explain the numbers of a ranking."""
    rests = f"{ranking.points} points and {ranking.seeds} seed{'' if ranking.seeds == 1 else 's'}"
    interval = (
        f"The interval has 95 % of {ranking.resamples} resamples of points and seeds."
        if ranking.method.name != "ANOVA"
        else f"The interval has 95 % of {ranking.resamples} resamples of the seeds; with few it is "
        "too narrow."
        if ranking.resamples
        else "With one seed there is no interval."
    )
    return f"{_explain(ranking)}, on {rests}. {interval}"


def _explain(ranking: Ranking) -> str:
    if ranking.method.name == "ANOVA":
        return (
            "ANOVA of the full grid: the share of the variance of the points' means that the axis "
            "has alone; the rest is due to axes together and to seeds"
        )
    if ranking.method.name == "fANOVA":
        return (
            "fANOVA by Optuna: the share of the variance over the space that the axis has alone, "
            "by a random forest of the points' means"
        )
    top = math.ceil(ranking.method.top * ranking.points)
    return (
        f"PED-ANOVA by Optuna: how far the axis's values of the best {top} points differ from "
        "those of all, as shares that sum to 1"
    )
