"""The axes of a sweep: values or ranges of dotted fields, and variants that set several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from analysis.labels import UNUSED, VARIANT
from care.config import Model
from care.config.base import refuse
from care.config.fields import canonical_values, kind_of
from care.config.loading import validate
from care.errors import ConfigError, nearest
from care.trials.identity import unsigned_zero
from sweeps.spec.space import MOST_VALUES, Choice, Domain, Range, comparable, exact, listed

_LONGEST_NAME = 200
SEEDS_ADVICE = "seeds have a list of their own, 'seeds'"
_ORDERED = ("integer", "number", None)
_HELD = {"boolean": "true or false", "text": "text"}


@dataclass(frozen=True)
class Axis:
    """A parsed axis.

    Attributes:
        domain: The values that it may take.
        when: Field to the values at which the axis exists; empty if it exists at every point.
    """

    domain: Domain
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


class AxisRange(Model):
    """A range of numbers as it is declared.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        step: Distance between neighboring values, which a grid needs.
        log: Whether a search draws uniformly on a log scale.
        when: Field to a value, or a list of values, at which the axis exists.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False
    when: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low >= self.high:
            raise PydanticCustomError("range", "allowed: low < high")
        if self.log and self.low <= 0:
            raise PydanticCustomError("range", "allowed: low > 0 on a log scale")
        if self.step is not None:
            _check_step(self.low, self.high, self.step, self.log)
        return self


def _check_step(low: float, high: float, step: float, log: bool) -> None:
    if log:
        raise PydanticCustomError("range", "allowed: step or log, not both")
    if step <= 0:
        raise PydanticCustomError("range", "allowed: step > 0")
    if (exact(high) - exact(low)) % exact(step):
        last = low + (exact(high) - exact(low)) // exact(step) * exact(step)
        raise PydanticCustomError(
            "range",
            "allowed: a step that divides high - low; these steps end at {last}",
            {"last": f"{float(last):.12g}"},
        )


class AxisValues(Model):
    """A list of values as it is declared with a condition.

    Attributes:
        values: The values.
        when: Field to a value, or a list of values, at which the axis exists.
    """

    values: list[Any]
    when: dict[str, Any] | None = None


def canonical_axes(axes: dict[str, Any]) -> dict[str, Any]:
    """Convert the values of lists to the types of their fields, so that 1 and 1.0 are one value."""
    return {name: _canonical_axis(name, declared) for name, declared in axes.items()}


def _canonical_axis(name: str, declared: Any) -> Any:
    if isinstance(declared, list):
        return unsigned_zero(canonical_values(name, declared))
    if isinstance(declared, dict) and isinstance(declared.get("values"), list):
        return {**declared, "values": _canonical_axis(name, declared["values"])}
    return declared


def parse_axes(axes: Mapping[str, Any]) -> dict[str, Axis]:
    """Parse axes that :func:`check_axes` has accepted."""
    return {name: _parse(name, declared) for name, declared in axes.items()}


def _parse(name: str, declared: Any) -> Axis:
    if not isinstance(declared, dict):
        return Axis(Choice(tuple(declared)))
    if "values" in declared:
        values = AxisValues.model_validate(declared)
        return Axis(Choice(tuple(values.values)), _parse_when(values.when))
    numbers = AxisRange.model_validate(declared)
    integer = kind_of(name) == "integer"
    low, high, step = numbers.low, numbers.high, numbers.step
    if integer:
        low, high, step = int(low), int(high), None if step is None else int(step)
    return Axis(Range(low, high, step, numbers.log, integer), _parse_when(numbers.when))


def _parse_when(when: Mapping[str, Any] | None) -> dict[str, tuple[Any, ...]]:
    return {
        name: tuple(canonical_values(name, value if isinstance(value, list) else [value]))
        for name, value in (when or {}).items()
    }


def check_axes(axes: dict[str, Any], search: str, zips: Sequence[Sequence[str]] = ()) -> None:
    """Refuse invalid axes, and axes that overwrite each other.

    Args:
        axes: Dotted field to its values.
        search: Name of the search; a grid accepts no range without steps.
        zips: Groups of axes that take their values together.

    Raises:
        PydanticCustomError: Names the axis and the allowed values.
    """
    zipped = {name for group in zips for name in group}
    for name, declared in axes.items():
        _check_axis(name, declared, search, zipped)
        _check_nesting(name, declared, axes)
    _check_zips(axes, zips)


def _refuse(field: str, value: Any, allowed: str) -> None:
    raise PydanticCustomError(f"axes.{field}", "{allowed}", {"allowed": allowed, "value": value})


def _check_axis(name: str, declared: Any, search: str, zipped: Iterable[str]) -> None:
    part = name.partition(".")[0]
    if part == "seed":
        _refuse(name, declared, f"allowed: any other field; {SEEDS_ADVICE}")
    if part == "runtime":
        _refuse(name, declared, "allowed: fields that change a number, which runtime's do not")
    values = declared
    if isinstance(declared, dict) and name == VARIANT:
        _refuse(name, declared, "allowed: a list of names that 'variants' declares")
    if isinstance(declared, dict):
        if "values" not in declared:
            _check_range(name, declared, search, zipped)
            return
        _validate(AxisValues, name, declared)
        values = declared["values"]
        _check_when(name, declared)
    if not isinstance(values, list) or not values:
        _refuse(name, declared, "allowed: a list of one value or more")
    if name not in zipped and len({comparable(value) for value in values}) < len(values):
        _refuse(name, declared, "allowed: each value once")


def _check_range(name: str, declared: dict[str, Any], search: str, zipped: Iterable[str]) -> None:
    _validate(AxisRange, name, declared)
    kind = kind_of(name)
    if kind not in _ORDERED:
        _refuse(name, declared, f"allowed: a list of values, as the field holds {_HELD[str(kind)]}")
    for key in ("low", "high", "step"):
        number = declared.get(key)
        if kind == "integer" and number is not None and not float(number).is_integer():
            _refuse(f"{name}.{key}", number, "allowed: an integer, as the field holds integers")
    if search == "grid" and declared.get("step") is None:
        _refuse(
            name,
            declared,
            "allowed: a list of values, or a range with a 'step'; "
            "an interval needs 'search: {name: optuna}', random or sobol",
        )
    _check_count(name, declared, search == "grid" or name in zipped)
    _check_when(name, declared)


def _check_count(name: str, declared: dict[str, Any], is_listed: bool) -> None:
    count = None if declared.get("step") is None else _parse(name, declared).domain
    if is_listed and isinstance(count, Range) and (count.count or 0) > MOST_VALUES:
        allowed = f"allowed: at most {MOST_VALUES} steps; these are {count.count}"
        _refuse(f"{name}.step", declared["step"], allowed)


def _check_when(name: str, declared: dict[str, Any]) -> None:
    if "when" not in declared:
        return
    when = declared["when"]
    if not when:
        _refuse(f"{name}.when", when, "allowed: a field and the values at which the axis exists")
    if UNUSED in declared.get("values", ()):
        _refuse(name, UNUSED, "allowed: other values, as this one means that the axis is absent")
    for condition, values in when.items():
        if values == [] or isinstance(values, dict):
            _refuse(f"{name}.when.{condition}", values, "allowed: a value or a list of values")


def _validate(model: type[Model], name: str, declared: dict[str, Any]) -> None:
    try:
        validate(model, declared, name)
    except ConfigError as error:
        problem = max(error.problems, key=lambda problem: problem.nearest is not None)
        hint = f"; did you mean {problem.nearest!r}?" if problem.nearest else ""
        path = ".".join(part for part in (name, problem.field) if part)
        _refuse(path, problem.value, problem.allowed + hint)


def _check_nesting(name: str, values: Any, axes: dict[str, Any]) -> None:
    """Refuse an axis within another one: each would overwrite the other."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        other = ".".join(parts[:end])
        if other in axes:
            _refuse(
                name, values, f"allowed: a field that lies in no other axis; {other!r} is an axis"
            )


def _check_zips(axes: dict[str, Any], zips: Sequence[Sequence[str]]) -> None:
    """Refuse zipped axes that are unknown, in two groups, conditional or of unequal length."""
    seen: set[str] = set()
    for number, group in enumerate(zips):
        field = f"zip.{number}"
        for name in group:
            _check_zipped(field, name, axes, seen)
            seen.add(name)
        if len(group) < 2:
            refuse(field, list(group), "two axes or more")
        columns = [listed(_parse(name, axes[name]).domain) for name in group]
        if len(set(map(len, columns))) > 1:
            counts = zip(group, map(len, columns), strict=True)
            numbers = ", ".join(f"{name} has {count}" for name, count in counts)
            refuse(field, list(group), f"axes with equally many values; {numbers}")
        rows = list(zip(*columns, strict=True))
        if len(set(map(comparable, rows))) < len(rows):
            refuse(field, list(group), "each combination of values once")


def _check_zipped(field: str, name: str, axes: dict[str, Any], seen: set[str]) -> None:
    if name not in axes:
        close = nearest(name, axes)
        hint = f"; did you mean {close!r}?" if close else ""
        refuse(field, name, f"{', '.join(axes) or 'axes, of which there are none'}{hint}")
    if name in seen:
        refuse(field, name, "each axis once")
    declared = axes[name]
    if isinstance(declared, dict) and (declared.get("when") or not _is_listed(declared)):
        refuse(field, name, "axes with a list of values, and without 'when'")


def _is_listed(declared: dict[str, Any]) -> bool:
    return "values" in declared or declared.get("step") is not None


def check_variants(variants: dict[str, dict[str, Any]], axes: dict[str, Any]) -> None:
    """Refuse variants that are not declared, have invisible names, or set an axis.

    Raises:
        PydanticCustomError: Names the variant and the allowed values.
    """
    for name in axes.get(VARIANT, ()):
        if not isinstance(name, str) or name not in variants:
            close = nearest(str(name), variants)
            hint = f"; did you mean {close!r}?" if close else ""
            names = ", ".join(variants) or "those that 'variants' declares, which is not there"
            _refuse(VARIANT, name, f"allowed: {names}{hint}")
    for name, fields in variants.items():
        if not name.isprintable() or not name.strip() or len(name) > _LONGEST_NAME:
            raise PydanticCustomError(
                "variants.name",
                "allowed: names of visible characters, at most {most}",
                {"value": name, "most": _LONGEST_NAME},
            )
        for setting, value in fields.items():
            if setting in axes or setting.partition(".")[0] in ("seed", "runtime"):
                allowed = f"allowed in variants: fields that are no axis; {SEEDS_ADVICE}"
                raise PydanticCustomError(
                    f"variants.{setting}", "{allowed}", {"allowed": allowed, "value": value}
                )
