"""Choose and order the trials of a sweep by their columns: ``--where λ>0.1 --sort epoch``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from analysis.labels import SPELLED, axis_name, value_label
from care.errors import ConfigError, Problem, nearest
from care.trials.state import State
from sweeps.spec.selection import is_named
from sweeps.sweep_view import SweepView, TrialRow

_SOURCE = "command line"
_CONDITION = re.compile(r"(.+?)(>=|<=|!=|==|=|>|<|~)(.*)", re.DOTALL)
_AND = re.compile(r"\s+and\s+")
_SHOWN = 30
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

Column = Callable[[TrialRow], object]

FACTS: dict[str, Column] = {
    "id": lambda row: row.trial_id,
    "state": lambda row: row.state.value,
    "seed": lambda row: row.seed,
    "epoch": lambda row: row.epoch,
    "epochs": lambda row: row.epochs,
    "images/s": lambda row: row.images_per_second,
    "host": lambda row: row.host,
    "updated": lambda row: row.updated,
    "reason": lambda row: row.reason,
}
"""Columns that every sweep has."""


class Columns:
    """The columns of a sweep by each of their names.

    An axis has the names that ``--only`` takes: its field, the last part of it, its label. A
    measure has its own, and the sweep's metric is ``metric`` besides.
    """

    def __init__(self, view: SweepView) -> None:
        spec = view.sweep.spec
        measures = sorted({name for row in view.rows for name in row.measures})
        self._columns: dict[str, Column] = {name: _measure(name) for name in measures}
        self._columns["metric"] = _measure(spec.metric.name)
        self._columns |= FACTS
        self._labels = [axis_name(axis) for axis in spec.axes]
        for axis in spec.axes:
            names = [axis, axis.rpartition(".")[2], axis_name(axis)]
            names += [word for word, symbol in SPELLED.items() if symbol == axis_name(axis)]
            self._columns |= {name: _axis(axis) for name in names}

    def find(self, name: str, option: str) -> Column:
        """Find a column.

        Raises:
            ConfigError: There is no such column; names the nearest one.
        """
        if name not in self._columns:
            known = list(dict.fromkeys([*self._labels, *FACTS, "metric", *self._columns]))
            some = ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
            _refuse(option, name, f"allowed: a column ({some})", nearest(name, known))
        return self._columns[name]


def _measure(name: str) -> Column:
    return lambda row: row.measures.get(name)


def _axis(axis: str) -> Column:
    return lambda row: row.point.get(axis)


def choose(view: SweepView, where: Sequence[str]) -> list[TrialRow]:
    """Choose the trials for which all conditions hold.

    Args:
        view: The sweep.
        where: Conditions ``COLUMN OPERATOR VALUE``, several with ``and`` between. Operators are
            ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, and ``~`` for a part of a text. A trial
            without a value fulfils only ``!=``.

    Raises:
        ConfigError: A condition, its column or its value is wrong.
    """
    columns = Columns(view)
    conditions = [
        _parse(part, columns) for text in where for part in _AND.split(text.strip()) if part
    ]
    return [row for row in view.rows if all(holds(row) for holds in conditions)]


def _parse(text: str, columns: Columns) -> Callable[[TrialRow], bool]:
    match = _CONDITION.fullmatch(text)
    if not match or not match[3].strip():
        allowed = "allowed: COLUMN OPERATOR VALUE, e.g. λ>0.1, state=failed, host~gpu"
        _refuse("--where", text, allowed)
    name, sign, value = match[1].strip(), match[2], match[3].strip()
    column = columns.find(name, "--where")
    if name == "state" and sign in ("=", "==", "!=") and value not in set(State):
        allowed = f"allowed: {', '.join(State)}"
        _refuse("--where state", value, allowed, nearest(value, list(State)))
    if sign == "~":
        return lambda row: value.lower() in cell(column(row)).lower()
    if sign in _ORDERS:
        return _ordered(name, sign, value, column)
    wanted = sign != "!="
    return lambda row: _equals(column(row), value) == wanted


def _ordered(name: str, sign: str, text: str, column: Column) -> Callable[[TrialRow], bool]:
    """Compare numbers; a text, e.g. a time, is compared in the order of its characters."""
    if name == "updated":
        return lambda row: bool(row.updated) and _ORDERS[sign](row.updated, text)
    try:
        limit = float(text)
    except ValueError:
        _refuse(f"--where {name}", text, f"allowed with {sign}: a number")
    holds = _ORDERS[sign]
    return lambda row: (value := number(column(row))) is not None and holds(value, limit)


def _equals(value: object, text: str) -> bool:
    return value is not None and (cell(value) == text or is_named(text, value))


def number(value: object) -> float | None:
    """Return a value of a column as a number; None for any other value, and for truth values."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]


def cell(value: object) -> str:
    """Format a value of a column; empty without one."""
    return "" if value is None else value_label(value)


def order(rows: Sequence[TrialRow], view: SweepView, key: str | None) -> list[TrialRow]:
    """Order trials by a column; those without a value come last.

    Args:
        rows: The trials, in the order of the plan.
        view: Their sweep.
        key: Name of the column, with ``-`` before it for descending values; None keeps the order.

    Raises:
        ConfigError: There is no such column; names the nearest one.
    """
    if not key:
        return list(rows)
    column = Columns(view).find(key.removeprefix("-"), "--sort")
    having = [row for row in rows if column(row) is not None]
    rest = [row for row in rows if column(row) is None]
    numbers = all(number(column(row)) is not None for row in having)

    def rank(row: TrialRow) -> tuple[float, str]:
        value = column(row)
        return (number(value) or 0.0, "") if numbers else (0.0, cell(value))

    return [*sorted(having, key=rank, reverse=key.startswith("-")), *rest]


def _refuse(option: str, given: object, allowed: str, close: str | None = None) -> NoReturn:
    raise ConfigError(_SOURCE, [Problem(option, given, allowed, close)])
