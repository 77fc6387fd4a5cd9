"""The rows of the encoders that a sweep did not train, beside those of its points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.statistics import Estimate, estimate
from analysis.summary import ReferenceEncoder, SweepSummary


@dataclass(frozen=True)
class ReferenceRow:
    """A row of an encoder from outside.

    Attributes:
        label: Its name.
        cells: Its measures, each a single number without an interval.
    """

    label: str
    cells: list[Estimate]


def counted(summary: SweepSummary) -> list[ReferenceEncoder]:
    """List the encoders from outside whose measures count."""
    return [reference for reference in summary.references if not reference.reason]


def references_left_out(summary: SweepSummary) -> list[tuple[str, str]]:
    """List (reason, encoder) of those whose measures do not count."""
    return [(each.reason, each.label) for each in summary.references if each.reason]


def build_reference_rows(summary: SweepSummary, metrics: Sequence[str]) -> list[ReferenceRow]:
    """Build a row for each encoder from outside; a measure that it lacks has no number.

    Args:
        summary: The sweep.
        metrics: The columns.
    """
    return [
        ReferenceRow(each.label, [_cell(each.measures.get(metric)) for metric in metrics])
        for each in counted(summary)
    ]


def _cell(value: float | None) -> Estimate:
    return estimate([] if value is None else [value])


def build_reference_table(summary: SweepSummary) -> pd.DataFrame:
    """Build a table with a row per encoder from outside: identity, name, measures."""
    rows = counted(summary)
    measures = sorted({name for each in rows for name in each.measures})
    return pd.DataFrame(
        [
            {
                "reference_id": each.reference_id,
                "encoder": each.label,
                **{name: each.measures.get(name) for name in measures},
            }
            for each in rows
        ]
    )
