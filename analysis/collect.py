"""The store's plain files as two pandas tables: a row per trial, and a row per epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.levels import to_column, to_level
from analysis.summary import Member, SweepSummary
from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder
from care.trials.records import TimingRecord, Values
from care.trials.state import State
from care.trials.trial_files import StoreFiles

_NEEDED_LATER = ("provenance.json", "status.json", "details.npz")
"""Files that the page and the figures need beside the tables."""


def collect(files: StoreFiles, summary: SweepSummary) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read a sweep's trials into tables.

    Args:
        files: The files of the store's trials.
        summary: The sweep.

    Returns:
        A row per trial (axes, seed, state, epochs, time, last epoch's metrics, final measures),
        and a row per epoch (trial_id, axes, seed, state, epoch, metrics).
    """
    trials: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for member in summary.members:
        folder = files.trial(member.trial_id)
        axes = {axis: to_level(value) for axis, value in member.axes.items()}
        identity = {"trial_id": member.trial_id, **axes, "seed": member.seed}
        try:
            epochs, facts = _read(member, folder)
        except DamagedFileError as error:
            epochs, facts = [], _damaged(member, f"{error.path.name} {error.problem}")
        curves += [{**identity, "state": member.state.value, **epoch} for epoch in epochs]
        trials.append({**identity, **facts})
        folder.keep_only(*_NEEDED_LATER)
    axis_names = list(summary.members[0].axes) if summary.members else []
    return tabulate(trials, axis_names), tabulate(curves, axis_names)


def tabulate(rows: list[dict[str, Any]], axes: list[str]) -> pd.DataFrame:
    """Make a table of rows; its axes are columns of objects, since pandas turns None into NaN."""
    table = pd.DataFrame(rows)
    for axis in axes if rows else []:
        levels = np.empty(len(rows), dtype=object)
        for index, row in enumerate(rows):  # levels[:] would read tuples as rows of an array
            levels[index] = row[axis]
        table[axis] = levels
    return table


def with_typed_axes(table: pd.DataFrame, axes: list[str]) -> pd.DataFrame:
    """Convert each axis to a column of one type, as CSV and Parquet need it."""
    columns = {axis: to_column(table[axis].tolist()) for axis in axes if axis in table}
    return table.assign(**columns)


def _read(member: Member, folder: TrialFolder) -> tuple[list[Values], dict[str, Any]]:
    if member.state == State.DAMAGED:
        return [], _damaged(member, member.reason)
    metrics = folder.read_metrics()
    return metrics, {**_facts(member, folder), **_measures(folder, metrics)}


def _damaged(member: Member, reason: str) -> dict[str, Any]:
    """Make a row without numbers, for a trial with damaged files."""
    return {
        "group_id": member.group_id,
        "state": State.DAMAGED.value,
        "epochs": 0,
        "seconds": 0.0,
        "images_per_second": float("nan"),
        "error": reason,
    }


def _facts(member: Member, folder: TrialFolder) -> dict[str, Any]:
    status = folder.read_status()
    provenance = folder.read_provenance()
    timings, problem = _timings(folder)
    error = status.error if status else None
    seconds = sum(timing.seconds for timing in timings)
    rates = [timing.images_per_second for timing in timings]
    return {
        "group_id": member.group_id,
        "state": member.state.value,
        "epochs": status.epoch if status else 0,
        "seconds": round(seconds, 2),
        "images_per_second": sum(rates) / len(rates) if rates else float("nan"),
        "device": provenance.device if provenance else "",
        "threads": provenance.threads if provenance else 0,
        "precision": (provenance and provenance.precision) or "",
        "code_version": provenance.code_version if provenance else "",
        "git_commit": (provenance and provenance.git_commit) or "",
        "error": f"{error.kind}: {error.message}" if error else _stale(member) or problem,
    }


def _timings(folder: TrialFolder) -> tuple[list[TimingRecord], str]:
    """Read the times of a trial's epochs; for a damaged log, return none and the problem."""
    try:
        return folder.read_timings(), ""
    except DamagedFileError as error:
        return [], f"{error.path.name} {error.problem}; only the times are lost"


def _stale(member: Member) -> str:
    return member.reason if member.state == State.STALE else ""


def read_final_values(folder: TrialFolder) -> Values:
    """Read the last epoch's metrics and the final measures of a trial.

    Raises:
        DamagedFileError: A file is damaged.
    """
    return _measures(folder, folder.read_metrics())


def _measures(folder: TrialFolder, metrics: list[Values]) -> Values:
    last = metrics[-1] if metrics else {}
    values = {name: value for name, value in last.items() if name not in ("epoch", "step")}
    return {**values, **(folder.read_evaluation() or {})}


def select_finished(trials: pd.DataFrame) -> pd.DataFrame:
    """Select the trials that are finished and not stale."""
    return trials[trials["state"] == State.FINISHED]
