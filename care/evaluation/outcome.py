"""What measures give: numbers for tables, arrays for figures, remarks for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Outcome:
    """What is measured of a frozen network.

    Attributes:
        measures: By name, as :data:`care.measures.FINAL_MEASURES`.
        details: Arrays that figures are drawn from, by name; see :mod:`care.evaluation.final`.
        notes: What a reader should know of the measures, a sentence each.
    """

    measures: dict[str, float] = field(default_factory=dict)
    details: dict[str, Array] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Take in another one, of other names."""
        self.measures.update(other.measures)
        self.details.update(other.details)
        self.notes.extend(other.notes)
