"""The values of an axis, compared by value: ``null``, lists and mappings are levels like others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from analysis.labels import value_label


def level(value: Any) -> Any:
    """Return a value of an axis in a form that can be a key; equal values give equal levels.

    A list becomes a tuple, a mapping its JSON text, and -0.0 becomes 0.0.
    """
    if isinstance(value, (list, tuple)):
        return tuple(map(level, value))
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    if isinstance(value, float) and value == 0:
        return 0.0
    return value


def is_number(value: Any) -> bool:
    """Whether a level has a place on a line of numbers; ``true`` and ``null`` have none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def ordered(levels: Sequence[Any]) -> list[Any]:
    """Return each level once: numbers ascending, others in the given order."""
    unique = list(dict.fromkeys(levels))
    return sorted(unique) if all(map(is_number, unique)) else unique


def column(levels: Sequence[Any]) -> list[Any]:
    """Return levels as one column of a file: numbers, truth values, or text for all of them."""
    kept = all(map(is_number, levels)) or all(isinstance(value, bool) for value in levels)
    return list(levels) if kept else [value_label(value) for value in levels]
