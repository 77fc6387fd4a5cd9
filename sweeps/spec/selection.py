"""A part of a sweep's trials, chosen on the command line to try a sweep small."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from analysis.labels import axis_name, value_label
from care.config.yaml_reader import parse_yaml
from care.errors import ConfigError, Problem, nearest
from sweeps.spec.axes import comparable

_SOURCE = "command line"
_SEED = "seed"
_SPELLED = {"lambda": "λ", "tau": "τ"}


@dataclass(frozen=True)
class Selection:
    """The trials that a command takes; all of them by default.

    Attributes:
        values: Chosen values of an axis, comparable by ``==``; an axis that is not here has all.
        seeds: Chosen seeds; None for all.
    """

    values: Mapping[str, frozenset[Hashable]] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None

    def __bool__(self) -> bool:
        return bool(self.values) or self.seeds is not None

    def takes(self, point: Mapping[str, Any]) -> bool:
        """Whether a point (dotted axis to value) is chosen."""
        return all(comparable(point[axis]) in chosen for axis, chosen in self.values.items())


def select(
    axes: Mapping[str, Any],
    seeds: Sequence[int],
    search: str,
    only: Sequence[str],
    seeds_text: str | None,
) -> Selection:
    """Return the part of a sweep that ``--only`` and ``--seeds`` choose.

    Args:
        axes: The sweep's axes: dotted field to its values.
        seeds: The sweep's seeds.
        search: The sweep's search.
        only: ``AXIS=VALUE[,VALUE]`` each; an axis may be named as ``care sweep plan`` shows it.
        seeds_text: ``3`` for the first three seeds, ``0,2`` for these; None for all.

    Raises:
        ConfigError: An axis, value or seed is not in the sweep, or the search chooses points.
    """
    if search != "grid":
        option, given = ("--only", only[0]) if only else ("--seeds", seeds_text)
        _refuse(option, given, f"allowed with 'search: {{name: grid}}'; {search} chooses points")
    chosen: dict[str, set[Hashable]] = {}
    for text in only:
        name, equals, values = text.partition("=")
        if not equals or not _parts(values):
            _refuse("--only", text, "allowed: AXIS=VALUE[,VALUE]")
        axis = _axis(name.strip(), axes)
        allowed = list(seeds) if axis == _SEED else list(axes[axis])
        matching = _values(name.strip(), values.strip(), allowed)
        chosen.setdefault(axis, set()).update(map(comparable, matching))
    numbers = None if seeds_text is None else _seeds(seeds_text, seeds)
    if _SEED in chosen:
        of_only = chosen.pop(_SEED)
        numbers = tuple(seed for seed in numbers or seeds if seed in of_only)
        if not numbers:
            _refuse("--only", only[0], f"allowed: a seed that --seeds {seeds_text} leaves")
    return Selection({axis: frozenset(values) for axis, values in chosen.items()}, numbers)


def _refuse(option: str, given: object, allowed: str, close: str | None = None) -> NoReturn:
    raise ConfigError(_SOURCE, [Problem(option, given, allowed, close)])


def _axis(name: str, axes: Mapping[str, Any]) -> str:
    """Return the axis of a dotted field, of its last parts, or of its label."""
    if name in axes or name == _SEED:
        return name
    name = _SPELLED.get(name, name)
    shown = [axis_name(axis) for axis in axes]
    fitting = [axis for axis in axes if name == axis_name(axis) or axis.endswith(f".{name}")]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        _refuse("--only", name, f"allowed: the whole field; {' and '.join(fitting)} end so")
    last = (axis.rpartition(".")[2] for axis in axes)
    spelled = (word for word, symbol in _SPELLED.items() if symbol in shown)
    names = [*axes, *last, *shown, _SEED, *spelled]
    allowed = f"allowed: an axis ({', '.join([*shown, _SEED])})"
    _refuse("--only", name, allowed, nearest(name, names))


def _values(name: str, text: str, allowed: Sequence[Any]) -> list[Any]:
    """Return the allowed values that ``text`` names: one of them, or several between commas."""
    whole = [value for value in allowed if _is(text, value)]
    if whole:
        return whole
    matching = []
    for part in _parts(text):
        fitting = [value for value in allowed if _is(part, value)]
        if not fitting:
            labels = [value_label(value) for value in allowed]
            shown = f"allowed: {', '.join(labels)}"
            words = [label for value, label in zip(allowed, labels, strict=True) if value == label]
            _refuse(f"--only {name}", part, shown, nearest(part, words))
        matching += fitting
    return matching


def _parts(text: str) -> list[str]:
    """Split at the commas that are in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _is(text: str, value: Any) -> bool:
    """Whether ``text`` is how a person writes ``value``: in YAML, or as the plan shows it."""
    if text == value_label(value):
        return True
    try:
        read = parse_yaml(text, _SOURCE)
    except ConfigError:
        return False
    return isinstance(read, bool) == isinstance(value, bool) and comparable(read) == comparable(
        value
    )


def _seeds(text: str, seeds: Sequence[int]) -> tuple[int, ...]:
    shown = ", ".join(map(str, seeds))
    allowed = f"allowed: a number up to {len(seeds)}, or some of {shown} with commas between"
    parts = _parts(text.strip().removeprefix("[").removesuffix("]"))
    is_list = "," in text or text.strip().startswith("[")
    numbers = [int(part) if part.isdecimal() and len(part) < 20 else -1 for part in parts]
    if not is_list and numbers and 0 < numbers[0] <= len(seeds):
        return tuple(seeds[: numbers[0]])
    if not is_list or not numbers or not set(numbers) <= set(seeds):
        _refuse("--seeds", text, allowed)
    return tuple(seed for seed in seeds if seed in numbers)
