"""What a follower is told before anything else; knows nothing heavy to import."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Assignment:
    """A follower's part in the training of a trial.

    Attributes:
        config: The trial, as JSON.
        folder: The trial's folder, whose newest whole checkpoint is where to go on.
        rendezvous: File in which the processes meet.
        rank: Of the follower.
        size: Number of processes.
        threads: CPU threads of each.
    """

    config: str
    folder: str
    rendezvous: str
    rank: int
    size: int
    threads: int

    def to_line(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Assignment:
        """The inverse of :meth:`to_line`."""
        return cls(**json.loads(line))
