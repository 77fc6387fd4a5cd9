"""The values that an axis of a sweep may take: a list of them, or a range of numbers."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

MOST_VALUES = 20_000
"""Largest number of values that a grid may have on an axis, and of trials of a sweep."""


@dataclass(frozen=True)
class Choice:
    """A list of values of any type.

    Attributes:
        values: The values, each once and as the field's type has them.
    """

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values to check before a search starts: all of them."""
        return self.values


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``, both included.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        step: Distance between neighboring numbers; None for all numbers, or all integers.
        log: Whether a sampler draws them uniformly on a log scale.
        integer: Whether the field holds integers.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False
    integer: bool = False

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values to check before a search starts: both ends."""
        return self.low, self.high

    @functools.cached_property
    def count(self) -> int | None:
        """Number of its values; None if there is no end to them."""
        step = 1 if self.integer and self.step is None else self.step
        if step is None:
            return None
        return int((exact(self.high) - exact(self.low)) / exact(step)) + 1

    def value(self, index: int) -> float:
        """Return the value at an index from 0: the float nearest to ``low + index * step``.

        So steps of 0.1 give 0.3, not 0.30000000000000004.
        """
        step = 1 if self.step is None else self.step
        number = exact(self.low) + index * exact(step)
        return int(number) if self.integer else float(number)

    def index(self, value: float) -> int:
        """Return the index of a value; of another number, that of the nearest value."""
        step = 1 if self.step is None else self.step
        return round((exact(value) - exact(self.low)) / exact(step))

    def values(self) -> tuple[float, ...]:
        """List its values; there is an end to them."""
        assert self.count is not None
        return tuple(map(self.value, range(self.count)))


Domain = Choice | Range


def exact(number: float) -> Fraction:
    """Return a number as it is written in decimal notation, without rounding."""
    return Fraction(Decimal(repr(number)))


def listed(domain: Domain) -> tuple[Any, ...]:
    """List the values of a domain that a grid takes: a list, or a range with steps."""
    return domain.values if isinstance(domain, Choice) else domain.values()


def comparable(value: Any) -> Hashable:
    """Convert a value to a hashable one; equal values give equal results."""
    if isinstance(value, dict):
        return frozenset((name, comparable(part)) for name, part in value.items())
    return tuple(map(comparable, value)) if isinstance(value, (list, tuple)) else value
