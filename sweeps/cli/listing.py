"""``care list``: the sweeps of a store, or the trials of a sweep."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.labels import short_metric_label
from care.errors import CareError, ConfigError, Problem
from care.trials.staleness import Versions
from sweeps.account import STOPPED
from sweeps.cli.row_query import cell, choose, order
from sweeps.cli.table import print_table
from sweeps.disk.scan import measure_below
from sweeps.disk.units import format_bytes
from sweeps.inventory import SweepReader, find_sweep_folder
from sweeps.process.terminal import make_console
from sweeps.references import read_references
from sweeps.spec.sweep import Sweep
from sweeps.states import MEANING, in_words
from sweeps.store import Store, SweepFolder
from sweeps.sweep_view import SweepView, TrialRow

_SHORT_ID = 8


@dataclass(frozen=True)
class ListOptions:
    """Options of ``care list SWEEP``.

    Attributes:
        where: Conditions that all hold.
        sort: Column to sort by; None for the order of the plan.
        as_csv: Whether to print CSV.
        as_json: Whether to print JSON.
    """

    where: Sequence[str] = ()
    sort: str | None = None
    as_csv: bool = False
    as_json: bool = False


def list_command(name: str | None, root: Path, options: ListOptions) -> None:
    """Print the sweeps of a store, newest first, or the trials of one sweep.

    Raises:
        ConfigError: There is no such sweep, or a condition or column is wrong.
    """
    if options.as_csv and options.as_json:
        raise ConfigError("command line", [Problem("--csv", True, "allowed: --csv or --json")])
    store = Store(root)
    if name is not None:
        reader = SweepReader(find_sweep_folder(name, store), store, Versions())
        _print_trials(reader.read(), options)
        if not (options.as_csv or options.as_json or options.where):
            _print_references(reader.sweep, store)
        return
    if options.where or options.sort:
        option, given = ("--where", options.where[0]) if options.where else ("--sort", options.sort)
        allowed = "allowed with the name of a sweep"
        raise ConfigError("command line", [Problem(option, given, allowed)])
    _print_sweeps(store, options)


def _print_sweeps(store: Store, options: ListOptions) -> None:
    versions = Versions()
    listed = [_describe_sweep(folder, store, versions) for folder in store.all_sweeps()]
    listed.sort(key=lambda one: (one["changed"], one["name"]), reverse=True)
    if options.as_json:
        print(json.dumps(listed, ensure_ascii=False, indent=1))
    elif options.as_csv:
        _print_csv([_flat(one) for one in listed])
    elif not listed:
        make_console(stderr=True).print(
            f"{store.root}: no sweep was started here. To start one: care sweep run FILE"
        )
    else:
        rows = [_sweep_cells(one) for one in listed]
        print_table(
            make_console(),
            ["sweep", "trials", "best", "changed", "disk"],
            rows,
            flexible=1,
            right=(4,),
        )


def _describe_sweep(folder: SweepFolder, store: Store, versions: Versions) -> dict[str, Any]:
    try:
        view = SweepReader(folder, store, versions).read()
    except CareError as error:
        size = measure_below(folder.path)
        return {
            "name": folder.name,
            "counts": {},
            "problem": str(error),
            "changed": "",
            "bytes": size,
        }
    best, metric = view.best(), view.sweep.spec.metric
    return {
        "name": view.name,
        "description": view.sweep.spec.description,
        "counts": view.counts(),
        "metric": metric.name,
        "best": None
        if best.point is None
        else {"point": best.point[1], "mean": best.mean, "n": len(best.seeds)},
        "driver": str(view.driver) if view.driver else None,
        "stopped": (view.stopped and view.account.stopped) or None,
        "reason": view.stopped or None,
        "changed": view.updated(),
        "bytes": _measure_sweep(view, folder, store),
    }


def _measure_sweep(view: SweepView, folder: SweepFolder, store: Store) -> int:
    """Measure a sweep's folder and its trials, including those that other sweeps have as well."""
    trials = (store.trial(row.trial_id).path for row in view.rows)
    return measure_below(folder.path) + sum(map(measure_below, trials))


def _flat(described: Mapping[str, Any]) -> dict[str, Any]:
    best = described.get("best") or {}
    return {
        "name": described["name"],
        "trials": in_words(described["counts"]),
        "metric": described.get("metric", ""),
        "best": best.get("point", ""),
        "mean": best.get("mean", ""),
        "n": best.get("n", ""),
        "stopped": described.get("stopped") or "",
        "changed": described["changed"],
        "bytes": described["bytes"],
        "problem": described.get("problem", ""),
    }


def _sweep_cells(described: Mapping[str, Any]) -> list[str]:
    best = described.get("best")
    value = f"{best['point']}: {best['mean']:.4g}" if best else "–"
    changed = described["changed"]
    note = " (driver runs)" if described.get("driver") else ""
    stopped = described.get("stopped")
    note = f" ({STOPPED[stopped]})" if stopped else note
    trials = described.get("problem") or f"{in_words(described['counts'])}{note}"
    size = format_bytes(described["bytes"])
    return [described["name"], trials, value, age(changed) if changed else "–", size]


def age(at: str) -> str:
    """Format the time since ``at`` (ISO 8601): ``3 min ago``, ``2 days ago``."""
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())
    days, hours, minutes = (int(seconds // unit) for unit in (86_400, 3_600, 60))
    if days:
        return f"{days} {'day' if days == 1 else 'days'} ago"
    return f"{hours} h ago" if hours else f"{minutes} min ago"


def _print_trials(view: SweepView, options: ListOptions) -> None:
    rows = order(choose(view, options.where), view, options.sort)
    if options.as_json:
        print(json.dumps([_trial_json(row) for row in rows], ensure_ascii=False, indent=1))
    elif options.as_csv:
        measures = sorted({name for row in view.rows for name in row.measures})
        _print_csv([_trial_record(row, list(view.sweep.spec.axes), measures) for row in rows])
    elif not rows:
        some = f" of {len(view.rows)} fulfils the conditions" if view.rows else ""
        make_console(stderr=True).print(f"{view.name}: no trial{some}")
    else:
        _print_trial_table(rows, view)


def _print_trial_table(rows: Sequence[TrialRow], view: SweepView) -> None:
    console, metric = make_console(), view.sweep.spec.metric.name
    digits = _digits([row.trial_id for row in view.rows]) if console.is_terminal else None
    hosts = any(row.host for row in rows)
    head = ["trial", "point", "state", "epochs", short_metric_label(metric), "images/s"]
    cells = [
        [
            row.trial_id[:digits],
            row.label,
            row.state.value,
            f"{row.epoch}/{row.epochs}",
            _number(row.measures.get(metric)),
            "–" if row.images_per_second is None else f"{row.images_per_second:,.0f}",
            *([row.host] if hosts else []),
        ]
        for row in rows
    ]
    styles = [(2, MEANING[row.state].style) for row in rows]
    names = [*head, *(["host"] if hosts else [])]
    print_table(console, names, cells, flexible=1, right=(4, 5), styles=styles)


def _print_references(sweep: Sweep, store: Store) -> None:
    """Print a line for each encoder from outside, with its value of the sweep's metric."""
    console = make_console()
    for reference, reason in read_references(sweep, store):
        value = _number(reference.measures.get(sweep.spec.metric.name))
        short, label = reference.path.name[:_SHORT_ID], reference.record.encoder.label
        console.print(f"reference {short}  {label}: {reason or value}", soft_wrap=True)


def _digits(identities: Sequence[str]) -> int:
    """Return the digits that tell the identities apart, at least eight."""
    number = _SHORT_ID
    while len({identity[:number] for identity in identities}) < len(set(identities)):
        number += 1
    return number


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _trial_json(row: TrialRow) -> dict[str, Any]:
    return {
        "id": row.trial_id,
        "point": dict(row.point),
        "seed": row.seed,
        "state": row.state,
        "epoch": row.epoch,
        "epochs": row.epochs,
        "images_per_second": row.images_per_second,
        "host": row.host,
        "updated": row.updated,
        "reason": row.reason,
        "measures": dict(row.measures),
    }


def _trial_record(row: TrialRow, axes: Sequence[str], measures: Sequence[str]) -> dict[str, Any]:
    """Make a row of the CSV table: facts, a column an axis and one a measure."""
    record = _trial_json(row)
    point, values = record.pop("point"), record.pop("measures")
    return {
        "id": record.pop("id"),
        **{axis: cell(point.get(axis)) for axis in axes},
        **record,
        **{name: values.get(name) for name in measures},
    }


def _print_csv(records: Sequence[Mapping[str, Any]]) -> None:
    if records:
        writer = csv.DictWriter(sys.stdout, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
