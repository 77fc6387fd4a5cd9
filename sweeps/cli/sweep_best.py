"""``care sweep best``: the best points of a sweep, for people and as the points of another one."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.labels import UNUSED, metric_label
from care.config.fields import kind_of
from care.errors import CareError
from care.system.files import write_atomic
from sweeps.cli.table import print_table
from sweeps.process.imports import large_imports
from sweeps.process.terminal import make_console

if TYPE_CHECKING:
    from analysis.results import Best


def best_command(name: str, root: Path, count: int, file: Path | None) -> None:
    """Print the best points of a sweep by its metric, and write them for ``points: {file: …}``.

    Raises:
        CareError: The sweep is unknown or has no best point, or a point cannot stand in a file.
    """
    with large_imports():
        from sweeps.results import sweep

    points = sweep(name, store=root).best_points(count)
    content = to_csv(points) if file else ""
    console = make_console()
    rows = [
        (str(rank), best.name, f"{best.estimate.value} ({best.estimate.interval})")
        for rank, best in enumerate(points, start=1)
    ]
    print_table(console, ("", "point", metric_label(points[0].metric)), rows, flexible=1)
    if len(points) < count:
        console.print(f"No more points have finished trials of the same seeds; asked for {count}.")
    if file:
        write_atomic(file, content.encode())
        console.print(f"wrote {os.fspath(file)}; a sweep reads it with points: {{file: …}}")


def to_csv(points: Sequence[Best]) -> str:
    """Format points as the file that ``points: {file: …}`` of a sweep reads.

    Raises:
        CareError: An axis does not exist at each of the points, which such a file cannot say.
    """
    axes = list(points[0].point)
    for best in points:
        for axis, value in best.point.items():
            if value == UNUSED and kind_of(axis) != "text":
                raise CareError(
                    f"{best.name} has no {axis}; a file of points has a value of each column at "
                    "each point. Ask for fewer points, or print them without --csv."
                )
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(axes)
    writer.writerows([_cell(best.point[axis]) for axis in axes] for best in points)
    return text.getvalue()


def _cell(value: Any) -> str:
    """Format a value as YAML reads it; a text stands as it is."""
    return value if isinstance(value, str) else json.dumps(value)
