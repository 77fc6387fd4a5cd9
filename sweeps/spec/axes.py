"""The axes of a sweep: values or intervals of dotted fields, and variants that set several."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from analysis.labels import VARIANT
from care.config import Model
from care.config.loading import validate
from care.errors import ConfigError, nearest

_LONGEST_NAME = 200
SEEDS_ADVICE = "seeds have a list of their own, 'seeds'"


class AxisRange(Model):
    """An interval that Optuna searches."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low >= self.high:
            raise PydanticCustomError("range", "allowed: low < high")
        if self.log and self.low <= 0:
            raise PydanticCustomError("range", "allowed: low > 0 on a log scale")
        return self


def check_axes(axes: dict[str, Any], search: str) -> None:
    """Refuse invalid axes, and axes that overwrite each other.

    Args:
        axes: Dotted field to its values.
        search: Name of the search; only ``optuna`` accepts intervals.

    Raises:
        PydanticCustomError: Names the axis and the allowed values.
    """
    for field, values in axes.items():
        _check_axis(field, values, search)
        _check_nesting(field, values, axes)


def _refuse(field: str, value: Any, allowed: str) -> None:
    raise PydanticCustomError(f"axes.{field}", "{allowed}", {"allowed": allowed, "value": value})


def _check_axis(field: str, values: Any, search: str) -> None:
    part = field.partition(".")[0]
    if part == "seed":
        _refuse(field, values, f"allowed: any other field; {SEEDS_ADVICE}")
    if part == "runtime":
        _refuse(field, values, "allowed: fields that change a number, which runtime's do not")
    if isinstance(values, dict):
        if search == "grid":
            _refuse(
                field,
                values,
                "allowed: a list of values; an interval needs 'search: {name: optuna}'",
            )
        _check_interval(field, values)
    elif not isinstance(values, list) or not values:
        _refuse(field, values, "allowed: a list of one value or more")
    elif len({comparable(value) for value in values}) < len(values):
        _refuse(field, values, "allowed: each value once")


def comparable(value: Any) -> Hashable:
    """Convert a value to a hashable one; equal values give equal results."""
    if isinstance(value, dict):
        return frozenset((name, comparable(part)) for name, part in value.items())
    return tuple(map(comparable, value)) if isinstance(value, (list, tuple)) else value


def _check_interval(field: str, values: dict[str, Any]) -> None:
    try:
        validate(AxisRange, values, field)
    except ConfigError as error:
        problem = max(error.problems, key=lambda problem: problem.nearest is not None)
        hint = f"; did you mean {problem.nearest!r}?" if problem.nearest else ""
        path = ".".join(part for part in (field, problem.field) if part)
        _refuse(path, problem.value, problem.allowed + hint)


def _check_nesting(field: str, values: Any, axes: dict[str, Any]) -> None:
    """Refuse an axis within another one: each would overwrite the other."""
    for other in axes:
        if field.startswith(f"{other}."):
            _refuse(
                field, values, f"allowed: a field that lies in no other axis; {other!r} is an axis"
            )


def check_variants(variants: dict[str, dict[str, Any]], axes: dict[str, Any]) -> None:
    """Refuse variants that are not declared, have invisible names, or set an axis.

    Raises:
        PydanticCustomError: Names the variant and the allowed values.
    """
    for name in axes.get(VARIANT, ()):
        if name not in variants:
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
        for field, value in fields.items():
            if field in axes or field.partition(".")[0] in ("seed", "runtime"):
                allowed = f"allowed in variants: fields that are no axis; {SEEDS_ADVICE}"
                raise PydanticCustomError(
                    f"variants.{field}", "{allowed}", {"allowed": allowed, "value": value}
                )
