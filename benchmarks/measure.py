"""Paired timing: two sides take turns in one run, so that a change of the machine affects both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

FASTER = "times faster"
SECONDS = "seconds"
MILLISECONDS = "ms a step"
PERCENT = "% of the time"
TIMES = (SECONDS, MILLISECONDS, PERCENT)
"""Units of which less is better."""


@dataclass(frozen=True)
class Line:
    """A figure of a benchmark: median and range of the paired ratios of ``versus`` to ``name``.

    With another ``unit``, the median and range of values in that unit.
    """

    name: str
    versus: str
    ratio: float
    low: float
    high: float
    unit: str = FASTER

    def as_dict(self) -> dict[str, object]:
        """Convert to JSON types, for results.json."""
        return asdict(self)


@dataclass(frozen=True)
class Missing:
    """A line that could not be measured here, with the reason."""

    name: str
    versus: str
    reason: str


Result = Line | Missing


def seconds(action: Callable[[], object]) -> float:
    """Measure the wall time of one call, in seconds."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def summarize(name: str, versus: str, figures: Sequence[float], unit: str = FASTER) -> Line:
    """Return the median and the range."""
    return Line(name, versus, statistics.median(figures), min(figures), max(figures), unit)


def time_pairs(
    ours: Callable[[], object], theirs: Callable[[], object], pairs: int
) -> list[tuple[float, float]]:
    """Measure the seconds of both sides, in turn."""
    return [(seconds(ours), seconds(theirs)) for _ in range(pairs)]


def compare(
    name: str, versus: str, ours: Callable[[], object], theirs: Callable[[], object], pairs: int = 7
) -> Line:
    """Time both sides in turn, after a warm-up call of each."""
    ours()
    theirs()
    return ratios(name, versus, time_pairs(ours, theirs, pairs))


def ratios(name: str, versus: str, pairs: Sequence[tuple[float, float]]) -> Line:
    """Make the line of ratios from the times of :func:`time_pairs`."""
    return summarize(name, versus, [theirs / ours for ours, theirs in pairs])
