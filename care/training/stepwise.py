"""Work that is done step by step, so that several pieces of it can share a process."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Stepwise = Generator[None, None, T]
"""Yields after each step; its return value is the outcome."""


def exhaust(steps: Stepwise[T]) -> T:
    """Run all steps and return their outcome."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            outcome: T = done.value
            return outcome
