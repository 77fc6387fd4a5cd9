"""Work that is done step by step, so that several pieces of it can share a process."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Yields after each step; its return value is the outcome."""


def after_each(steps: Steps[T], action: Callable[[], None]) -> Steps[T]:
    """The same ``steps``, each followed by ``action``."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            outcome: T = done.value
            return outcome
        action()
        yield


def exhaust(steps: Steps[T], action: Callable[[], None] = lambda: None) -> T:
    """The outcome of all ``steps``, each followed by ``action``."""
    rest = after_each(steps, action)
    while True:
        try:
            next(rest)
        except StopIteration as done:
            outcome: T = done.value
            return outcome
