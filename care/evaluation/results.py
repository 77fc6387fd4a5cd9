"""What measures give: numbers for tables, arrays for figures, remarks for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


class UndefinedError(ValueError):
    """A measure has no value for these embeddings or data; the message is the reason."""


@dataclass
class Outcome:
    """What is measured of a frozen network.

    Attributes:
        measures: By name, as :data:`care.config.metrics.final_measures`.
        details: Arrays that figures are drawn from, by name; see :mod:`care.evaluation.evaluate`.
        notes: What a reader should know of the measures, a sentence each. A measure that is not
            defined is absent, and a note gives the reason.
    """

    measures: dict[str, float] = field(default_factory=dict)
    details: dict[str, Array] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Take in another one, of other names."""
        self.measures.update(other.measures)
        self.details.update(other.details)
        self.notes.extend(other.notes)

    def measure(self, space: str, compute: Callable[[], Mapping[str, float]]) -> None:
        """Take in the measures that ``compute`` returns, or the reason why there are none.

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

    def finite(self) -> Outcome:
        """Return a copy without the measures that are NaN or infinite, and a note for each."""
        wrong = {name: value for name, value in self.measures.items() if not math.isfinite(value)}
        notes = [
            f"{name} is {value}, not a number, so it is left out" for name, value in wrong.items()
        ]
        kept = {name: value for name, value in self.measures.items() if name not in wrong}
        return Outcome(kept, dict(self.details), [*self.notes, *notes])
