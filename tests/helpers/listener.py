"""A reporter that remembers."""

from __future__ import annotations


class Listener:
    """What a preparation told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[str, int, int]] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def progress(self, what: str, done: int, total: int) -> None:
        self.steps.append((what, done, total))
