"""The levels of an axis: its values as dictionary keys, ``null``, lists and mappings included."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.labels import UNUSED, value_label


def to_level(value: Any) -> Any:
    """Convert a value of an axis to a hashable level; equal values give equal levels.

    A list becomes a tuple, a mapping its JSON text, and -0.0 becomes 0.0.
    """
    if isinstance(value, (list, tuple)):
        return tuple(map(to_level, value))
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    if isinstance(value, float) and value == 0:
        return 0.0
    return value


def is_number(value: Any) -> bool:
    """Check that a level is a number; ``true`` and ``null`` are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def order_levels(levels: Sequence[Any]) -> list[Any]:
    """List each level once: numbers ascending, before ``unused``; others in the given order."""
    unique = list(dict.fromkeys(levels))
    if not all(is_number(level) or level == UNUSED for level in unique):
        return unique
    absent = [level for level in unique if level == UNUSED]
    return sorted(level for level in unique if level != UNUSED) + absent


def choose_x(axes: Sequence[str], levels: Mapping[str, Sequence[Any]]) -> str:
    """Choose the axis on x: the first numeric one of two levels or more, else the first such one.

    Args:
        axes: The axes in order; at least one.
        levels: Every trial's level by axis.
    """
    unique = {axis: order_levels(levels[axis]) for axis in axes}
    several = [axis for axis in axes if len(unique[axis]) > 1] or list(axes)
    numeric = [axis for axis in several if all(map(is_number, unique[axis]))]
    return (numeric or several)[0]


def to_column(levels: Sequence[Any]) -> list[Any]:
    """Convert levels to a column of one type: numbers, booleans, or text."""
    kinds = set(map(type, levels))  # of 1,000,000 levels there are few types
    numbers = all(issubclass(kind, (int, float)) for kind in kinds)
    uniform = kinds == {bool} or (numbers and bool not in kinds)
    return list(levels) if uniform else [value_label(value) for value in levels]
