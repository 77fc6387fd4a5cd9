"""The report's table of the seeds that were added until a point was decided."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import pandas as pd

from analysis.collect import tabulate
from analysis.labels import point_name
from analysis.levels import to_level
from analysis.statistics import Estimate
from analysis.summary import SweepSummary


@dataclass(frozen=True)
class SeedRow:
    """A compared point.

    Attributes:
        point: Its name.
        seeds: Number of its seeds at the comparison.
        change: Difference to the baseline, with its interval without correction.
        p: Corrected p-value as text.
        verdict: ``decided``, ``undecided`` or ``not compared``.
    """

    point: str
    seeds: int
    change: Estimate
    p: str
    verdict: str


def build_seed_rows(summary: SweepSummary) -> list[SeedRow]:
    """Make a row for each compared point; none for a sweep with a list of seeds."""
    if summary.seeds is None:
        return []
    return [
        SeedRow(
            point_name(axes, axes.values()),
            one.seeds,
            Estimate(one.difference, one.low, one.high, one.pairs),
            _format_p(one.p) if one.verdict != "not compared" else "–",
            one.verdict,
        )
        for axes, one in summary.seeds.rows
    ]


def build_seed_table(summary: SweepSummary) -> pd.DataFrame:
    """Make a row for each compared point: the axes as levels and the fields of its verdict."""
    rows = summary.seeds.rows if summary.seeds else ()
    table = [
        {**{axis: to_level(value) for axis, value in axes.items()}, **asdict(one)}
        for axes, one in rows
    ]
    return tabulate(table, list(rows[0][0]) if rows else []).drop(columns="point", errors="ignore")


def describe_seeds(summary: SweepSummary) -> list[str]:
    """Describe the decisions as a sentence of the answer; none for a list of seeds."""
    return [f"S{summary.seeds.text[1:]}."] if summary.seeds else []


def _format_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else "1" if math.isclose(p, 1) else f"{p:.2g}"
