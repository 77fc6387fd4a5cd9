"""The seeds of a sweep's points: a fixed list, or more of them until a difference is decided."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from care.config import Model, PositiveInt
from care.config.base import refuse

MOST_SEEDS = 1_000
_FEWEST = 2  # that have an interval
_LIST: TypeAdapter[tuple[int, ...]] = TypeAdapter(
    tuple[Annotated[int, Field(ge=0, strict=True)], ...]
)


class AdaptiveSeeds(Model):
    """Seeds 0, 1, … of each point until its difference to the baseline is decided.

    See :mod:`analysis.adaptive_seeds` for the comparison.

    Attributes:
        least: Seeds of every point.
        most: Largest number of seeds of a point.
        until: ``decided``: the corrected paired interval of the sweep's metric excludes 0.
    """

    least: PositiveInt = 3
    most: PositiveInt = 10
    until: Literal["decided"] = "decided"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.least < _FEWEST:
            refuse("seeds.least", self.least, f"{_FEWEST} or more, as one seed has no interval")
        if self.most <= self.least:
            refuse("seeds.most", self.most, f"more than 'least', {self.least}")
        if self.most > MOST_SEEDS:
            refuse("seeds.most", self.most, f"at most {MOST_SEEDS} seeds")
        return self


def parse_seeds(value: Any, _: object) -> tuple[int, ...] | AdaptiveSeeds:
    """Convert ``3`` to 0, 1, 2; a list to a tuple; a mapping to :class:`AdaptiveSeeds`."""
    if isinstance(value, AdaptiveSeeds):
        return value
    if isinstance(value, dict):
        return AdaptiveSeeds.model_validate(value)
    number = len(value) if isinstance(value, (list, tuple)) else value
    if not isinstance(number, int) or isinstance(number, bool):
        raise PydanticCustomError(
            "name",
            "allowed: a number of seeds or a list of seeds, or a mapping with least, most, until",
        )
    if number > MOST_SEEDS:
        raise PydanticCustomError("name", f"allowed: at most {MOST_SEEDS} seeds")
    seeds = _LIST.validate_python(tuple(range(value)) if isinstance(value, int) else tuple(value))
    if not seeds:
        raise PydanticCustomError("name", "allowed: one seed or more")
    if len(set(seeds)) < len(seeds):
        raise PydanticCustomError("name", "allowed: each seed once")
    return seeds
