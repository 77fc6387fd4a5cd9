"""Compare the precision, device and threads of trials, which can change their last digits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from care.trials.records import ProvenanceRecord


class Machine(NamedTuple):
    """Precision and hardware of a trial; empty strings if not recorded.

    Attributes:
        precision: ``fp32`` or ``bf16``.
        device: Device type, e.g. ``cpu``.
        threads: Number of CPU threads.
    """

    precision: str
    device: str
    threads: str

    @classmethod
    def of(cls, provenance: ProvenanceRecord | None) -> Machine:
        """Extract the machine from a trial's provenance."""
        if provenance is None:
            return cls("", "", "")
        return cls(provenance.precision or "", provenance.device, str(provenance.threads))


@dataclass(frozen=True)
class Mixture:
    """A fact with several values among trials that are compared.

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


def compare_machines(
    machines: Sequence[Machine], chosen: Sequence[bool] | None = None
) -> list[Mixture]:
    """Find the facts in which trials differ.

    Args:
        machines: Machine of each trial.
        chosen: True for each trial whose configuration fixes its precision: that may differ.
    """
    flags = chosen or [False] * len(machines)
    differing = []
    for fact in Machine._fields:
        values = [
            getattr(machine, fact)
            for machine, is_chosen in zip(machines, flags, strict=True)
            if not (is_chosen and fact == "precision")
        ]
        counts = Counter(value for value in values if value)
        if len(counts) > 1:
            differing.append(Mixture(fact, tuple(counts.most_common())))
    return differing
