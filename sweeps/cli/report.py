"""``care report``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from sweeps.process.terminal import make_console
from sweeps.report import find_sweep, read_answer, write_sweep_report
from sweeps.store import Store


def report_command(name: str, profile: str | None, root: Path) -> None:
    """Write a sweep's report, and print the answer and the report's path."""
    store = Store(root)
    page = write_sweep_report(find_sweep(name, profile, store), store)
    print_answer(make_console(), page)


def print_answer(console: Console, page: Path) -> None:
    """Print the answer of a written report, and its path."""
    for line in read_answer(page):
        console.print(line, soft_wrap=True)
    console.print(f"report: {page}", soft_wrap=True)
