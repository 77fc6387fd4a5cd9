"""Warnings on comparisons between trials of different machines, threads or precision."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.collect import select_finished
from care.trials.hardware import Mixture


def warn_of_mixed_pairs(trials: pd.DataFrame, mixed: Sequence[Mixture]) -> list[str]:
    """Return a sentence for each fact that differs within the pairs of a seed.

    Args:
        trials: A row per trial, as :func:`analysis.collect.collect` makes them.
        mixed: The facts in which the sweep's trials differ.
    """
    lines = []
    done = select_finished(trials) if mixed else trials
    for mixture in mixed:
        seeds = [seed for seed, group in done.groupby("seed") if group[mixture.fact].nunique() > 1]
        if seeds:
            listed = ", ".join(map(str, seeds))
            lines.append(
                f"Paired differences of seed {listed} compare trials of different {mixture.fact}: "
                "a part of them may be due to it."
            )
    return lines
