"""``care report``."""

from __future__ import annotations

from pathlib import Path

from sweeps.process.terminal import make_console
from sweeps.report import find_sweep, write_sweep_report
from sweeps.store import Store


def report_command(name: str, profile: str | None, root: Path) -> None:
    """Write a sweep's report and print its path."""
    store = Store(root)
    page = write_sweep_report(find_sweep(name, profile, store), store)
    make_console().print(f"report: {page}")
