"""``care experiments``."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table

from sweeps.live import duration
from sweeps.paper_experiments import PaperExperiment, default_folder, list_experiments
from sweeps.process.terminal import make_console
from sweeps.store import Store


def experiments_command(given: Path | None, root: Path, as_json: bool) -> None:
    """List the tables and figures of the paper with the sweeps that reproduce them."""
    folder = given or default_folder()
    entries = list(list_experiments(folder, Store(root)))
    if as_json:
        print(json.dumps([entry.as_dict() for entry in entries], ensure_ascii=False, indent=1))
        return
    console = make_console()
    console.print(_table(entries))
    console.print(
        f"\nRun one: care sweep run {folder}/NAME.yaml, or with --profile PROFILE.\n"
        "EFLOP: 10¹⁸ floating-point operations of all trainings. Time: of the missing trials,\n"
        "known once a trial of that configuration was run. Assumptions where the paper is\n"
        "silent are in the file and in --json.",
        soft_wrap=True,
    )


def _table(entries: list[PaperExperiment]) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    for name in ("name", "reproduces", "profile", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("trials", "EFLOP", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for index, entry in enumerate(entries):
        repeated = index > 0 and entries[index - 1].file == entry.file
        table.add_row(
            "" if repeated else entry.file.stem,
            "" if repeated else entry.reproduces,
            entry.profile,
            entry.status,
            str(entry.trials),
            _exaflop(entry),
            "–" if entry.seconds is None else duration(entry.seconds),
        )
    return table


def _exaflop(entry: PaperExperiment) -> str:
    return "–" if entry.flops is None else f"{entry.flops / 1e18:.2g}"
