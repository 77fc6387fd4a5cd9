"""The first message to a follower; imports nothing heavy."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Assignment:
    """A follower's part in the training of a trial.

    Attributes:
        config: The trial's configuration as JSON.
        folder: The trial's folder; its newest valid checkpoint is where the training resumes.
        rendezvous: File in which the processes meet.
        rank: Rank of the follower.
        size: Number of processes.
        threads: CPU threads of each process.
    """

    config: str
    folder: str
    rendezvous: str
    rank: int
    size: int
    threads: int

    def to_line(self) -> str:
        """Serialize as one line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Assignment:
        """Parse a line of :meth:`to_line`."""
        return cls(**json.loads(line))
