"""The points of a sweep that a CSV file lists: a column for each field, a row for each point."""

from __future__ import annotations

import csv
import io
import stat
from pathlib import Path
from typing import Any, NoReturn

from analysis.labels import VARIANT
from care.config import Model
from care.config.bundled import beside, find_path
from care.config.fields import canonical_values, is_field, kind_of, read_field
from care.config.yaml_reader import LARGEST_TEXT, parse_yaml
from care.errors import ConfigError, Problem, nearest


class PointsConfig(Model):
    """Points that are listed.

    Attributes:
        file: CSV file with dotted fields as heads, relative to the sweep's file. An empty cell has
            the value of the base configuration.
    """

    file: str


def read_points(config: PointsConfig, sweep: Path, base: dict[str, Any]) -> dict[str, list[Any]]:
    """Read the columns of a CSV file: field to its value at each point.

    Args:
        config: Names the file.
        sweep: The sweep's file.
        base: The base configuration, for empty cells.

    Raises:
        ConfigError: The file cannot be read, is no table of fields, or lists no point.
    """
    path = beside(sweep, config.file)
    try:
        rows = list(csv.reader(io.StringIO(_read(path), newline=""), strict=True))
    except csv.Error as error:
        _refuse(path, "file", str(path), f"a CSV file ({error})")
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        _refuse(path, "file", f"{len(rows)} lines", "a line of fields and a line for each point")
    heads = rows[0]
    for head in heads:
        _check_head(path, head, heads)
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(heads):
            allowed = f"{len(heads)} cells, as in the first line"
            _refuse(path, f"point {number}", f"{len(row)} cells", allowed)
    return {
        head: canonical_values(head, [_value(path, head, row[column], base) for row in rows[1:]])
        for column, head in enumerate(heads)
    }


def add_points(tree: dict[str, Any], columns: dict[str, list[Any]], source: str) -> dict[str, Any]:
    """Add columns to a sweep's declaration: axes that take their values together.

    Raises:
        ConfigError: A column is an axis already.
    """
    axes = tree.get("axes") or {}
    for name in columns:
        if name in axes:
            problem = Problem(f"axes.{name}", axes[name], "allowed: a field that is no column")
            raise ConfigError(source, [problem])
    zips = tree.get("zip") or []
    if zips and isinstance(zips[0], str):
        zips = [zips]
    together = [list(columns)] if len(columns) > 1 else []
    return {**tree, "axes": {**columns, **axes}, "zip": [*together, *zips]}


def _read(path: Path) -> str:
    try:
        real = find_path(path)
        if not stat.S_ISREG(real.stat().st_mode):
            _refuse(path, "file", str(path), "a regular file")
        with real.open("rb") as file:
            content = file.read(LARGEST_TEXT + 1)
        text = content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        siblings = [one.name for one in path.parent.glob("*.csv")] if path.parent.is_dir() else []
        allowed = f"allowed: a readable CSV file in UTF-8 ({type(error).__name__})"
        problem = Problem("file", str(path), allowed, nearest(path.name, siblings))
        raise ConfigError(str(path), [problem]) from error
    if len(content) > LARGEST_TEXT:
        _refuse(path, "file", str(path), f"a file of at most {LARGEST_TEXT // 1024} KiB")
    return text


def _check_head(path: Path, head: str, heads: list[str]) -> None:
    if heads.count(head) > 1:
        _refuse(path, head or "column", head, "each column once")
    if head == VARIANT or is_field(head):
        return
    try:
        read_field({}, head)
    except ConfigError as error:
        raise ConfigError(str(path), error.problems) from error


def _value(path: Path, head: str, cell: str, base: dict[str, Any]) -> Any:
    if cell:
        text = kind_of(head) == "text" or head == VARIANT
        return cell if text else parse_yaml(cell, f"{path}, {head}")
    if head == VARIANT:
        _refuse(path, head, "an empty cell", "the name of a variant")
    try:
        return read_field(base, head)
    except ConfigError as error:
        raise ConfigError(str(path), error.problems) from error


def _refuse(path: Path, field: str, value: str, allowed: str) -> NoReturn:
    raise ConfigError(str(path), [Problem(field, value, f"allowed: {allowed}")])
