"""What a sweep's trials differ in besides their configuration, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.collect import finished
from care.trials.hardware import Mixture


def mixed_pairs(trials: pd.DataFrame, mixed: Sequence[Mixture]) -> list[str]:
    """Name the seeds whose paired differences mix what trials differ in.

    Args:
        trials: A row a trial, as :func:`analysis.collect.collect` has them.
        mixed: What they differ in.
    """
    lines = []
    done = finished(trials) if mixed else trials
    for mixture in mixed:
        seeds = [seed for seed, group in done.groupby("seed") if group[mixture.fact].nunique() > 1]
        if seeds:
            listed = ", ".join(map(str, seeds))
            lines.append(
                f"Paired differences of seed {listed} compare trials of different {mixture.fact}: "
                "a part of them may be due to it."
            )
    return lines
