"""The page's table of trials: its rows, links and the tracebacks of failures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from analysis.labels import value_label
from care.config.metrics import COLLAPSE_METRIC, is_collapsed
from care.errors import CareError
from care.system.redaction import redact
from care.trials.folder import TrialFolder
from care.trials.state import State

_MOST_ROWS = 400
_MOST_TRACEBACKS = 20
_LONGEST_TRACEBACK = 6000  # characters
_STAMP = len("2026-01-01T00:00:00Z ")
_START = "Traceback (most recent call last)"
_FIRST = (State.FAILED, State.DAMAGED, State.STALE)


@dataclass(frozen=True)
class TrialRow:
    """A trial in the page's table.

    Attributes:
        levels: Its value on each axis, as text.
        seed: The seed.
        state: As in the plan.
        error: Cause of a failed, stale or damaged state; empty otherwise.
        traceback: The end of its log from the last traceback on; empty without one.
        epochs: Completed epochs.
        seconds: Wall time of its epochs.
        rate: Images per second, as text.
        metric: The sweep's metric, as text.
        collapsed: Whether the finished trial is nearly collapsed.
        trial_id: Identity.
        folder: Address of its folder, relative to the page.
    """

    levels: list[str]
    seed: int
    state: str
    error: str
    traceback: str
    epochs: int
    seconds: float
    rate: str
    metric: str
    collapsed: bool
    trial_id: str
    folder: str


@dataclass(frozen=True)
class TrialTable:
    """The rows of the page's table of trials.

    Attributes:
        rows: The shown trials.
        left_out: Number of trials that are only in ``tables/trials.csv``.
        silent: Number of failed trials whose tracebacks are only in their logs.
    """

    rows: list[TrialRow]
    left_out: int
    silent: int


def build_trial_table(
    trials: pd.DataFrame, axes: list[str], metric: str, store_trials: Path, out: Path
) -> TrialTable:
    """Build the table of a sweep's trials, or of a part that a browser can show.

    Of many trials, those that are failed, damaged or stale come first; the others keep their order.

    Args:
        trials: A row per trial.
        axes: The axes, as columns of the table.
        metric: The sweep's metric.
        store_trials: The folder of the trials' folders.
        out: The report's folder, for relative links.
    """
    if len(trials) > _MOST_ROWS:
        first = trials["state"].isin(_FIRST)
        shown = pd.concat([trials[first], trials[~first]]).iloc[:_MOST_ROWS]
    else:
        shown = trials
    failed = [str(trial) for trial in shown.loc[_is_failed(shown), "trial_id"]]
    tracebacks = _read_tracebacks(store_trials, failed[:_MOST_TRACEBACKS])
    base = Path(os.path.relpath(store_trials, out)).as_posix()
    rows = [
        _make_row(
            {str(name): value for name, value in record.items()}, axes, metric, base, tracebacks
        )
        for record in shown.to_dict("records")
    ]
    silent = int(_is_failed(trials).sum()) - min(len(failed), _MOST_TRACEBACKS)
    return TrialTable(rows, len(trials) - len(shown), silent)


def _is_failed(trials: pd.DataFrame) -> pd.Series:
    if trials.empty:
        return pd.Series(dtype=bool)
    return trials["state"] == State.FAILED


def _make_row(
    record: dict[str, Any], axes: list[str], metric: str, base: str, tracebacks: dict[str, str]
) -> TrialRow:
    value, rate = _number(record.get(metric)), _number(record["images_per_second"])
    trial_id, error = str(record["trial_id"]), record["error"]
    return TrialRow(
        levels=[value_label(record[name]) for name in axes],
        seed=record["seed"],
        state=str(record["state"]),
        error=error if isinstance(error, str) else "",
        traceback=tracebacks.get(trial_id, ""),
        epochs=record["epochs"],
        seconds=record["seconds"],
        rate="–" if rate is None else f"{rate:,.0f}",
        metric="–" if value is None else f"{value:.4g}",
        collapsed=record["state"] == State.FINISHED
        and is_collapsed(_number(record.get(COLLAPSE_METRIC))),
        trial_id=trial_id,
        folder=quote(f"{base}/{trial_id}/"),
    )


def _number(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else value


def _read_tracebacks(store_trials: Path, trial_ids: Iterable[str]) -> dict[str, str]:
    tracebacks = {}
    for trial_id in trial_ids:
        try:
            log = TrialFolder(store_trials / trial_id).read_log()
        except CareError:  # no reason to lose the page
            continue
        lines = [line[_STAMP:] for line in log.splitlines()]
        starts = [index for index, line in enumerate(lines) if line.startswith(_START)]
        if starts:
            text = redact("\n".join(lines[starts[-1] :]))  # a log of an earlier version
            tracebacks[trial_id] = _without_middle(text)
    return tracebacks


def _without_middle(text: str) -> str:
    if len(text) <= _LONGEST_TRACEBACK:
        return text
    half = _LONGEST_TRACEBACK // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[{left_out:,} characters left out]\n{text[-half:]}"
