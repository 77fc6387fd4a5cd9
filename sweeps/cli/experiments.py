"""``care experiments``."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sweeps.catalogue import Entry, catalogue
from sweeps.live import duration
from sweeps.store import Store


def experiments_command(folder: Path, root: Path, as_json: bool) -> None:
    """List what of the paper can be reproduced."""
    entries = list(catalogue(folder, Store(root)))
    if as_json:
        print(json.dumps([entry.as_dict() for entry in entries], ensure_ascii=False, indent=1))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("reproduces", "profile", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("trials", "EFLOP", "time here"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("command", no_wrap=True)
    for entry in entries:
        table.add_row(
            entry.reproduces,
            entry.profile,
            entry.status,
            str(entry.trials),
            _exaflop(entry),
            "–" if entry.seconds is None else duration(entry.seconds),
            entry.command,
        )
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(
        "EFLOP: 10¹⁸ floating-point operations of all trainings. Time: of what is missing, from "
        "past trials here. What is assumed where the paper is silent: --json, or the file."
    )


def _exaflop(entry: Entry) -> str:
    return "–" if entry.flops is None else f"{entry.flops / 1e18:.2g}"
