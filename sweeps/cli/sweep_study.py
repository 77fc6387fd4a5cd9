"""``care sweep study``."""

from __future__ import annotations

import shlex
from pathlib import Path

from sweeps.process.terminal import make_console
from sweeps.report import find_sweep
from sweeps.store import Store
from sweeps.tune.study_file import write_study


def study_command(name: str, root: Path, file: Path | None, overwrite: bool) -> None:
    """Write a sweep as a study of Optuna, and print the command that shows it."""
    store = Store(root)
    sweep = find_sweep(name, None, store)
    written = write_study(
        sweep, store, file or Path(f"{sweep.spec.name}-study.db"), overwrite=overwrite
    )
    counts = ", ".join(f"{count} {state.name.lower()}" for state, count in written.states.items())
    address = shlex.quote(f"sqlite:///{written.path}")
    console = make_console()
    console.print(f"study {sweep.spec.name}: {counts or 'no points yet'}", soft_wrap=True)
    console.print(f"to open it: optuna-dashboard {address}", soft_wrap=True)
