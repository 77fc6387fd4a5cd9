"""Collect the results of measures: numbers for tables, arrays for figures, notes for readers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


class UndefinedError(ValueError):
    """A measure is undefined for these embeddings or data; the message is the reason."""


@dataclass
class Results:
    """Results of measures of a frozen network.

    Attributes:
        measures: Values by the names of :func:`care.config.metrics.final_measures`.
        details: Arrays for figures by name; see :mod:`care.evaluation.evaluate`.
        notes: Remarks for the reader, one sentence each. An undefined measure is absent, and a note
            states the reason.
    """

    measures: dict[str, float] = field(default_factory=dict)
    details: dict[str, Array] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Results) -> None:
        """Add the results of other measures."""
        self.measures.update(other.measures)
        self.details.update(other.details)
        self.notes.extend(other.notes)

    def measure(self, space: str, compute: Callable[[], Mapping[str, float]]) -> None:
        """Add the measures that ``compute`` returns, or a note if they are undefined.

        Args:
            space: Prefix of the measures' names, and of the note.
            compute: Returns measures by name without prefix, or raises :class:`UndefinedError`.
        """
        try:
            measures = compute()
        except UndefinedError as reason:
            self.notes.append(f"{space}: {reason}")
        else:
            self.measures.update({f"{space}/{name}": value for name, value in measures.items()})

    def finite(self) -> Results:
        """Return a copy without NaN and infinite measures, with a note for each."""
        wrong = {name: value for name, value in self.measures.items() if not math.isfinite(value)}
        notes = [
            f"{name} is {value}, not a number, so it is left out" for name, value in wrong.items()
        ]
        kept = {name: value for name, value in self.measures.items() if name not in wrong}
        return Results(kept, dict(self.details), [*self.notes, *notes])
