"""Choose an axis, a level or a measure by the names that people use for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.labels import SPELLED, VARIANT, axis_label, axis_name, value_label
from analysis.levels import is_number, to_level
from care.errors import ConfigError, Problem, nearest

_SHOWN = 30


def choose_axis(
    name: str, axes: Sequence[str], source: str, field: str = "axis", also: Sequence[str] = ()
) -> str:
    """Find an axis by its dotted field, the field's last parts, or its label.

    Args:
        name: The given name, e.g. ``λ``, ``lambda``, ``temperature``.
        axes: The dotted fields.
        source: Where the name was given, for the message.
        field: The field or option that has the name, for the message.
        also: Names beside those of axes.

    Raises:
        ConfigError: No axis or several axes have this name; names the nearest one.
    """
    if name in (*axes, *also):
        return name
    wanted = SPELLED.get(name, name)
    matching = [axis for axis in axes if wanted in _names(axis) or axis.endswith(f".{wanted}")]
    if len(matching) == 1:
        return matching[0]
    if matching:
        allowed = f"allowed: the full field; {' and '.join(matching)} match"
        raise ConfigError(source, [Problem(field, name, allowed)])
    known = [*axes, *(other for axis in axes for other in _names(axis)), *also]
    shown = ", ".join([*map(axis_name, axes), *also])
    allowed = f"allowed: an axis ({shown})" if shown else "allowed: none, as there are no axes"
    raise ConfigError(source, [Problem(field, name, allowed, nearest(name, known))])


def _names(axis: str) -> list[str]:
    name = axis_name(axis)
    spelled = [word for word, symbol in SPELLED.items() if symbol == name]
    labels = [axis_label(axis)] if axis == VARIANT else []
    return [name, axis.rpartition(".")[2], *spelled, *labels]


def choose_level(value: Any, levels: Sequence[Any], axis: str, source: str) -> Any:
    """Find a level of an axis by its value, or by its label in a report.

    Args:
        value: The value, e.g. ``0.1``, or its label, with or without the axis: ``λ=0.1``.
        levels: The levels.
        axis: The axis.
        source: Where the value was given, for the message.

    Raises:
        ConfigError: There is no such level; lists the levels.
    """
    wanted = to_level(value)
    for level in levels:
        both_bool = isinstance(wanted, bool) == isinstance(level, bool)  # True == 1 in Python
        if wanted == level and both_bool:
            return level
    labels = {value_label(level): level for level in levels}
    text = str(value).rpartition("=")[2] if isinstance(value, str) else ""
    if text in labels:
        return labels[text]
    if text and _as_number(text) in [level for level in levels if is_number(level)]:
        return _as_number(text)
    allowed = f"allowed: {', '.join(labels)}"
    raise ConfigError(source, [Problem(axis_name(axis), value, allowed, nearest(text, labels))])


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def choose_metric(name: str, known: Sequence[str], source: str) -> str:
    """Find a measure by its name.

    Args:
        name: The name, e.g. ``head/gamma``.
        known: Names of the measures that have values.
        source: Where the name was given, for the message.

    Raises:
        ConfigError: No finished trial has such a measure; names the nearest one.
    """
    if name in known:
        return name
    some = ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
    allowed = f"allowed: a measure of a finished trial ({some or 'none is finished yet'})"
    endings = [each for each in known if each.rpartition("/")[2] == name.rpartition("/")[2]]
    close = endings[0] if endings else nearest(name, known)
    raise ConfigError(source, [Problem("measure", name, allowed, close)])
