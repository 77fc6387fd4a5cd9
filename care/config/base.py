"""The base of all configuration models, and the types of their fields."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from care.errors import nearest


class Model(BaseModel):
    """Base of all configuration models: frozen, strict, without unknown fields or NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def refuse(field: str, value: object, allowed: str) -> NoReturn:
    """Raise the error of a check across fields.

    Args:
        field: Dotted name of the wrong field.
        value: Its value.
        allowed: Description of the allowed values.
    """
    raise PydanticCustomError(field, "allowed: {allowed}", {"allowed": allowed, "value": value})


def check_ordered(pair: tuple[float, float]) -> tuple[float, float]:
    """Check that a range goes from low to high."""
    if pair[0] > pair[1]:
        raise PydanticCustomError("range", "allowed: a pair [low, high] with low <= high")
    return pair


def check_odd(value: int) -> int:
    """Check that a kernel has a center."""
    if value % 2 == 0:
        raise PydanticCustomError("odd", "allowed: an odd number of pixels")
    return value


def check_unique(values: tuple[str, ...]) -> tuple[str, ...]:
    """Check that no value is repeated."""
    if len(set(values)) < len(values):
        raise PydanticCustomError("name", "allowed: each once")
    return values


def check_not_empty(values: tuple[str, ...]) -> tuple[str, ...]:
    """Check that there is a value."""
    if not values:
        raise PydanticCustomError("name", "allowed: one or more")
    return values


def registered(names: Collection[str]) -> AfterValidator:
    """Make a validator that admits ``names`` and suggests the nearest one."""

    def check(name: str) -> str:
        if name not in names:
            close = nearest(name, names)
            hint = f"; did you mean {close!r}?" if close else ""
            raise PydanticCustomError("name", f"allowed: {', '.join(sorted(names))}{hint}")
        return name

    return AfterValidator(check)


Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
PositiveInt = Annotated[int, Field(gt=0)]
Range = Annotated[tuple[Positive, Positive], Field(strict=False), AfterValidator(check_ordered)]
