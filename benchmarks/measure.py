"""Paired timing: two ways of doing one thing, in turn in one run, so that a drifting machine
slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

FASTER = "times faster"
SECONDS = "seconds"
MILLISECONDS = "ms a step"
TIMES = (SECONDS, MILLISECONDS)
"""Units of which less is better."""


@dataclass(frozen=True)
class Line:
    """How many times faster ``name`` is than ``versus``: median and range of the paired ratios.

    With another ``unit`` the median and range of what that says.
    """

    name: str
    versus: str
    ratio: float
    low: float
    high: float
    unit: str = FASTER

    def as_dict(self) -> dict[str, object]:
        """As it stands in results.json."""
        return asdict(self)


@dataclass(frozen=True)
class Missing:
    """A line that could not be measured here, and why."""

    name: str
    versus: str
    reason: str


Found = Line | Missing


def seconds(action: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def summarize(name: str, versus: str, figures: Sequence[float], unit: str = FASTER) -> Line:
    """Median and range."""
    return Line(name, versus, statistics.median(figures), min(figures), max(figures), unit)


def time_pairs(
    ours: Callable[[], object], theirs: Callable[[], object], pairs: int
) -> list[tuple[float, float]]:
    """Seconds of both, in turn."""
    return [(seconds(ours), seconds(theirs)) for _ in range(pairs)]


def compare(
    name: str, versus: str, ours: Callable[[], object], theirs: Callable[[], object], pairs: int = 7
) -> Line:
    """Time both in turn, after one call of each that is not counted."""
    ours()
    theirs()
    return ratios(name, versus, time_pairs(ours, theirs, pairs))


def ratios(name: str, versus: str, pairs: Sequence[tuple[float, float]]) -> Line:
    """The line of what :func:`time_pairs` found."""
    return summarize(name, versus, [theirs / ours for ours, theirs in pairs])
