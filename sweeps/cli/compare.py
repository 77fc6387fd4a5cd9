"""``care compare``: two sweeps, two versions of one, or two stores."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from analysis.choice import choose_axis
from analysis.labels import short_metric_label
from analysis.side import Side, distinguish
from analysis.wording import better_direction, quality, signed
from care.errors import ConfigError, Problem
from care.system.files import write_atomic
from sweeps.cli.table import print_table
from sweeps.process.imports import large_imports
from sweeps.process.terminal import make_console
from sweeps.sides import read_side
from sweeps.store import Store

if TYPE_CHECKING:
    from analysis.sweep_comparison import SweepComparison

_SOURCE = "command line"
_STYLES = {"better": "green", "worse": "yellow"}


@dataclass(frozen=True)
class CompareOptions:
    """Options of ``care compare``.

    Attributes:
        by: Axes that pairs share; every axis when empty.
        other_store: Store of the second sweep; that of the first when None.
        page: File for the page; None for no page.
        table: File for the table as CSV, ``-`` for standard output; None for no table.
        as_json: Whether to print JSON.
    """

    by: Sequence[str] = ()
    other_store: Path | None = None
    page: Path | None = None
    table: str | None = None
    as_json: bool = False


def compare_command(one: str, other: str, root: Path, options: CompareOptions) -> int:
    """Compare two sweeps and print the differences; return 1 if nothing can be compared.

    Raises:
        ConfigError: A sweep, version or axis is unknown, or the options contradict each other.
    """
    if options.as_json and options.table == "-":
        raise ConfigError(_SOURCE, [Problem("--csv", "-", "allowed with --json: a file")])
    _check_file("--html", options.page)
    _check_file("--csv", None if options.table in (None, "-") else Path(options.table or ""))
    stores = [_open(path) for path in (root, options.other_store or root)]
    sides = [read_side(text, store) for text, store in zip((one, other), stores, strict=True)]
    first, second = distinguish(*sides)
    by = [_shared_axis(name, first, second) for name in options.by]
    with large_imports():
        from analysis.sweep_comparison import compare_sweeps

    result = compare_sweeps(first, second, by)
    console = make_console(stderr=options.as_json or options.table == "-")
    if options.page is not None:
        write_atomic(options.page, result.to_html().encode())
    if options.table not in (None, "-"):
        write_atomic(Path(str(options.table)), result.table().to_csv(index=False).encode())
    if options.as_json:
        print(json.dumps(_as_json(result), ensure_ascii=False, indent=1))
    elif options.table == "-":
        result.table().to_csv(sys.stdout, index=False)
    else:
        _print(console, result)
    if options.page is not None:
        console.print(f"page: {options.page}", soft_wrap=True)
    return 0 if result.pairs else 1


def _open(path: Path) -> Store:
    if not path.is_dir():
        allowed = "allowed: the folder of a run store"
        raise ConfigError(_SOURCE, [Problem("--store", str(path), allowed)])
    return Store(path)


def _check_file(option: str, path: Path | None) -> None:
    """Refuse a file that cannot be written, before the seconds of a comparison."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        allowed = "allowed: a file in a folder that exists"
        raise ConfigError(_SOURCE, [Problem(option, str(path), allowed)])


def _shared_axis(name: str, one: Side, other: Side) -> str:
    axes = list(dict.fromkeys([*one.axes, *other.axes]))
    return choose_axis(name, axes, "--by")


def _print(console: Console, result: SweepComparison) -> None:
    for letter, side in zip("AB", result.sides, strict=True):
        console.print(f"{letter}: {side.label}, {side.counts()}", soft_wrap=True)
    console.print(result.pairing, soft_wrap=True)
    for title, rows in (
        ("settings that differ", result.settings),
        ("how they were run", result.circumstances),
    ):
        if rows:
            console.print()
            print_table(console, [title, "A", "B"], rows, flexible=0)
    if result.shown and not result.identical:
        console.print()
        _print_differences(console, result)
        console.print(result.describe_chance(result.brief), soft_wrap=True)
        if len(result.brief) < len(result.differences):
            console.print("every point and measure: --html FILE, --csv FILE")
    if result.not_compared:
        console.print("\nnot compared")
        for reason, where in result.not_compared:
            console.print(f"  {reason} – {where}", soft_wrap=True)


def _print_differences(console: Console, result: SweepComparison) -> None:
    head = ["measure", "point", "A", "B", "B − A, 95 %", "n", ""]
    rows, styles, last = [], [], ""
    one = result.sides[0]
    for row in result.brief:
        name = short_metric_label(row.metric)
        mark = "⚠ nearly collapsed; " if row.collapsed else ""
        rows.append(
            [
                name if name != last else "",
                row.name,
                row.one.value,
                row.other.value,
                signed(row.change),
                str(row.change.n),
                f"{mark}{row.verdict}",
            ]
        )
        judged = quality(row.change, better_direction(row.metric, one.metric, one.mode))
        styles.append((6, _STYLES.get(judged, "")))
        last = name
    print_table(console, head, rows, flexible=1, right=(2, 3, 4, 5), styles=styles)


def _as_json(result: SweepComparison) -> dict[str, Any]:
    return {
        "sides": [{"name": side.label, "trials": side.counts()} for side in result.sides],
        "axes": result.axes,
        "pairs": result.pairs,
        "equal": result.equal,
        "settings": [dict(zip(("field", "a", "b"), row, strict=True)) for row in result.settings],
        "run": [dict(zip(("fact", "a", "b"), row, strict=True)) for row in result.circumstances],
        "differences": [
            {name: _finite(value) for name, value in row.items()}
            for row in result.table().to_dict("records")
        ],
        "not_compared": [
            dict(zip(("reason", "trials"), row, strict=True)) for row in result.not_compared
        ],
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
