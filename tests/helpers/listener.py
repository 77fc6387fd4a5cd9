"""A reporter that records its calls."""

from __future__ import annotations


class Listener:
    """Records the lines and the progress of a preparation."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[str, int, int]] = []

    def log(self, line: str) -> None:
        self.lines.append(line)

    def progress(self, task: str, done: int, total: int) -> None:
        self.steps.append((task, done, total))
