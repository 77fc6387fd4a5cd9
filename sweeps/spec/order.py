"""The order in which a sweep's trials start. It changes no trial, and no question of a search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from analysis.choice import choose_axis
from analysis.labels import value_label
from care.errors import ConfigError, Problem, nearest
from sweeps.spec.selection import Selection
from sweeps.spec.space import comparable

Order = Literal["points", "seeds"]
_SEED = "seed"
_FIELD = "first"


def parse_first(
    first: Sequence[Mapping[str, Any]],
    levels: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    source: str,
) -> tuple[Selection, ...]:
    """Parse the trials that start first.

    Args:
        first: Axis, or ``seed``, to a value or a list of values, each.
        levels: The sweep's axes and their levels.
        seeds: The sweep's seeds.
        source: The sweep's file.

    Raises:
        ConfigError: An axis, level or seed is not in the sweep; names the nearest one.
    """
    return tuple(_parse(entry, {**levels, _SEED: seeds}, source) for entry in first)


def _parse(entry: Mapping[str, Any], levels: Mapping[str, Sequence[Any]], source: str) -> Selection:
    axes = [axis for axis in levels if axis != _SEED]
    chosen = {}
    for name, value in entry.items():
        axis = choose_axis(name, axes, source, _FIELD, also=[_SEED])
        chosen[axis] = _choose(name, value, levels[axis], source)
    seeds = chosen.pop(_SEED, None)
    values = {axis: frozenset(map(comparable, some)) for axis, some in chosen.items()}
    return Selection(values, None if seeds is None else tuple(seeds))


def _choose(name: str, value: Any, levels: Sequence[Any], source: str) -> list[Any]:
    """Find the levels that a value stands for: itself, or each part of a list."""
    if found := _find(value, levels):
        return found
    chosen = []
    for part in value if isinstance(value, list) and value else [value]:
        found = _find(part, levels)
        if not found:
            labels = list(map(value_label, levels))
            allowed = f"allowed: {', '.join(labels)}"
            close = nearest(str(part), labels)
            raise ConfigError(source, [Problem(f"{_FIELD}.{name}", part, allowed, close)])
        chosen += found
    return chosen


def _find(value: Any, levels: Iterable[Any]) -> list[Any]:
    return [
        level
        for level in levels
        # True == 1 in Python.
        if isinstance(value, bool) == isinstance(level, bool)
        and (comparable(value) == comparable(level) or value == value_label(level))
    ]


def rank(first: Sequence[Selection], point: Mapping[str, Any], seed: int) -> int:
    """Return the position of a trial among those that start first; the others come last."""
    for position, chosen in enumerate(first):
        if chosen.takes(point) and (chosen.seeds is None or seed in chosen.seeds):
            return position
    return len(first)
