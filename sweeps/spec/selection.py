"""The part of a sweep's trials that ``--only`` and ``--seeds`` choose."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from analysis.choice import choose_axis
from analysis.labels import value_label
from care.config.yaml_reader import parse_yaml
from care.errors import ConfigError, Problem, nearest
from sweeps.spec.space import comparable

_SOURCE = "command line"
_SEED = "seed"


@dataclass(frozen=True)
class Selection:
    """The chosen trials of a sweep; all of them by default.

    Attributes:
        values: Chosen values by axis, hashable; an axis that is missing has all of its values.
        seeds: Chosen seeds; None for all.
    """

    values: Mapping[str, frozenset[Hashable]] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None

    def __bool__(self) -> bool:
        return bool(self.values) or self.seeds is not None

    def takes(self, point: Mapping[str, Any]) -> bool:
        """Check that a point (dotted axis to value) is chosen."""
        return all(comparable(point[axis]) in chosen for axis, chosen in self.values.items())


def select(
    axes: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    only: Sequence[str],
    seeds_text: str | None,
    option: str = "--only",
) -> Selection:
    """Select the trials that ``--only`` and ``--seeds`` choose.

    Args:
        axes: The sweep's axes: dotted field to its levels.
        seeds: The sweep's seeds.
        only: ``AXIS=VALUE[,VALUE]`` each; an axis may have the name that ``care sweep plan`` shows.
        seeds_text: ``3`` for the first three seeds, ``0,2`` for seeds 0 and 2; None for all.
        option: Name of the argument ``only``, for messages.

    Raises:
        ConfigError: An axis, value or seed is not in the sweep.
    """
    chosen: dict[str, set[Hashable]] = {}
    for text in only:
        name, equals, values = text.partition("=")
        if not equals or not _split(values):
            _refuse(option, text, "allowed: AXIS=VALUE[,VALUE]")
        axis = choose_axis(name.strip(), list(axes), _SOURCE, option, also=[_SEED])
        allowed = list(seeds) if axis == _SEED else list(axes[axis])
        matching = _find_values(name.strip(), values.strip(), allowed, option)
        chosen.setdefault(axis, set()).update(map(comparable, matching))
    numbers = None if seeds_text is None else _parse_seeds(seeds_text, seeds)
    if _SEED in chosen:
        seeds_of_only = chosen.pop(_SEED)
        numbers = tuple(seed for seed in numbers or seeds if seed in seeds_of_only)
        if not numbers:
            _refuse(option, only[0], f"allowed: a seed that --seeds {seeds_text} leaves")
    return Selection({axis: frozenset(values) for axis, values in chosen.items()}, numbers)


def refuse_selection(search: str, only: Sequence[str], seeds_text: str | None) -> NoReturn:
    """Refuse a choice of trials where a search chooses them.

    Raises:
        ConfigError: Always.
    """
    option, given = ("--only", only[0]) if only else ("--seeds", seeds_text)
    _refuse(option, given, f"allowed with 'search: {{name: grid}}'; {search} chooses points")


def _refuse(option: str, given: object, allowed: str, close: str | None = None) -> NoReturn:
    raise ConfigError(_SOURCE, [Problem(option, given, allowed, close)])


def _find_values(name: str, text: str, allowed: Sequence[Any], option: str) -> list[Any]:
    """Find the allowed values that ``text`` names: a single one, or several between commas."""
    single = [value for value in allowed if is_named(text, value)]
    if single:  # first: the value itself may contain a comma
        return single
    values = []
    for part in _split(text):
        matching = [value for value in allowed if is_named(part, value)]
        if not matching:
            labels = [value_label(value) for value in allowed]
            words = [label for value, label in zip(allowed, labels, strict=True) if value == label]
            _refuse(
                f"{option} {name}".strip(),
                part,
                f"allowed: {', '.join(labels)}",
                nearest(part, words),
            )
        values += matching
    return values


def _split(text: str) -> list[str]:
    """Split at the commas outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def is_named(text: str, value: Any) -> bool:
    """Check that ``text`` is a value in YAML, or its label in the plan."""
    if text == value_label(value):
        return True
    try:
        parsed = parse_yaml(text, _SOURCE)
    except ConfigError:
        return False
    both_bool = isinstance(parsed, bool) == isinstance(value, bool)  # True == 1 in Python
    return both_bool and comparable(parsed) == comparable(value)


def _parse_seeds(text: str, seeds: Sequence[int]) -> tuple[int, ...]:
    shown = ", ".join(map(str, seeds))
    allowed = f"allowed: a number up to {len(seeds)}, or some of {shown} with commas between"
    parts = _split(text.strip().removeprefix("[").removesuffix("]"))
    is_list = "," in text or text.strip().startswith("[")
    numbers = [int(part) if part.isdecimal() and len(part) < 20 else -1 for part in parts]
    if not is_list and numbers and 0 < numbers[0] <= len(seeds):
        return tuple(seeds[: numbers[0]])
    if not is_list or not numbers or not set(numbers) <= set(seeds):
        _refuse("--seeds", text, allowed)
    return tuple(seed for seed in seeds if seed in numbers)
