"""Report the progress of a data set's preparation."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Receives the progress, e.g. to print it."""

    def log(self, line: str) -> None:
        """Report one line."""
        ...

    def progress(self, task: str, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` items are done; they are equal in the last call."""
        ...
