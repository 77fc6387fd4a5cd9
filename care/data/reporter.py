"""Telling the user how the preparation of a data set goes."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Who is told."""

    def say(self, line: str) -> None:
        """A line of news."""
        ...

    def progress(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total`` of ``what``; the last call has them equal."""
        ...
