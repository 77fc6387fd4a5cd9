"""The results of a sweep in the store, as ``care.sweep`` gives them to Python and notebooks."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from analysis.results import SweepResults
from care.errors import ConfigError, Problem
from sweeps.report import evaluate_importance, find_sweep, sweep_summary, write_sweep_report
from sweeps.store import Store

_SOURCE = "care.sweep"
_ALLOWED = "allowed: the name of a sweep, its folder in a store, or its YAML file"


def sweep(
    name: str | os.PathLike[str], *, store: str | os.PathLike[str] | None = None
) -> SweepResults:
    """Read the results of a sweep, finished or not.

    Args:
        name: Name of the sweep, its folder in a store, or its YAML file.
        store: Folder of the run store; by default ``CARE_STORE``, else ``runs``.

    Returns:
        The results at this moment. Nothing is written.

    Raises:
        ConfigError: There is no such sweep or store; names the nearest one.
        DamagedFileError: The sweep's declaration cannot be read.
    """
    text, root = _locate(os.fspath(name), store)
    opened = Store(root)
    chosen = find_sweep(text, None, opened)
    write = functools.partial(write_sweep_report, chosen, opened, if_current=False)
    evaluate = functools.partial(evaluate_importance, chosen)
    return SweepResults(opened.trials, sweep_summary(chosen, opened), write, evaluate)


def _locate(name: str, store: str | os.PathLike[str] | None) -> tuple[str, Path]:
    """Return the sweep's name or file, and the folder of its store."""
    path = Path(name)
    if (path / "sweep.json").is_file():
        absolute = path.absolute()
        root = absolute.parents[1]
        if store is not None and Path(store).absolute() != root:
            allowed = f"allowed: the store of this folder, {root}, or none"
            raise ConfigError(_SOURCE, [Problem("store", str(store), allowed)])
        return absolute.name, root
    if (path / "sweeps").is_dir() and (path / "trials").is_dir():
        allowed = f"{_ALLOWED}; this is a store, which store=… takes"
        raise ConfigError(_SOURCE, [Problem("sweep", name, allowed)])
    root = Path(store or os.environ.get("CARE_STORE") or "runs")
    if not root.is_dir():
        allowed = "allowed: the folder of a run store: store=… or CARE_STORE"
        raise ConfigError(_SOURCE, [Problem("store", str(root.absolute()), allowed)])
    return name, root
