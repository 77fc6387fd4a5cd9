"""What trials ran on that can change their last digits, and where trials of one sweep differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from care.trials.records import ProvenanceRecord


class Machine(NamedTuple):
    """What a trial computed in and on.

    Attributes:
        precision: ``fp32`` or ``bf16``.
        device: Device type, e.g. ``cpu``.
        threads: CPU threads.
    """

    precision: str
    device: str
    threads: str

    @classmethod
    def of(cls, provenance: ProvenanceRecord | None) -> Machine:
        """Take it from what a trial recorded; what it did not record is empty."""
        if provenance is None:
            return cls("", "", "")
        return cls(provenance.precision or "", provenance.device, str(provenance.threads))


@dataclass(frozen=True)
class Mixture:
    """A fact in which trials differ that are compared with each other.

    Attributes:
        fact: ``precision``, ``device`` or ``threads``.
        counts: (value, number of trials), most frequent first.
    """

    fact: str
    counts: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        between = " with " if self.fact == "threads" else " "
        listed = ", ".join(f"{number}{between}{value}" for value, number in self.counts)
        return f"trials differ in {self.fact}: {listed}"


def mixtures(machines: Sequence[Machine], chosen: Sequence[bool] | None = None) -> list[Mixture]:
    """Name the facts in which trials differ.

    Args:
        machines: Of each trial.
        chosen: Whether a trial's configuration fixes its precision, so that it is meant to differ.
    """
    fixed = chosen or [False] * len(machines)
    differing = []
    for fact in Machine._fields:
        values = [
            getattr(machine, fact)
            for machine, meant in zip(machines, fixed, strict=True)
            if not (meant and fact == "precision")
        ]
        counts = Counter(value for value in values if value)
        if len(counts) > 1:
            differing.append(Mixture(fact, tuple(counts.most_common())))
    return differing
