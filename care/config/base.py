"""What every configuration model shares: strictness, and the types of its fields."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from care.errors import nearest


class Model(BaseModel):
    """Base of every configuration model: frozen, strict, no unknown field, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def refuse(field: str, value: object, allowed: str) -> NoReturn:
    """Raise what a check across fields finds: ``field`` is the dotted name of the wrong one."""
    raise PydanticCustomError(field, "allowed: {allowed}", {"allowed": allowed, "value": value})


def ordered(pair: tuple[float, float]) -> tuple[float, float]:
    """A range is from low to high."""
    if pair[0] > pair[1]:
        raise PydanticCustomError("range", "allowed: a pair [low, high] with low <= high")
    return pair


def odd(value: int) -> int:
    """A kernel has a middle."""
    if value % 2 == 0:
        raise PydanticCustomError("odd", "allowed: an odd number of pixels")
    return value


def once(values: tuple[str, ...]) -> tuple[str, ...]:
    """Nothing is asked for twice."""
    if len(set(values)) < len(values):
        raise PydanticCustomError("name", "allowed: each once")
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
Range = Annotated[tuple[Positive, Positive], Field(strict=False), AfterValidator(ordered)]
