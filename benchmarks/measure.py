"""Paired timing: two ways of doing one thing, in turn in one run, so that a drifting machine
slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Line:
    """How many times faster ``name`` is than ``versus``: median and range of the paired ratios."""

    name: str
    versus: str
    ratio: float
    low: float
    high: float
    unit: str = "times faster"

    def as_dict(self) -> dict[str, object]:
        """As it stands in results.json."""
        return asdict(self)


def seconds(action: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def compare(
    name: str, versus: str, ours: Callable[[], object], theirs: Callable[[], object], pairs: int = 7
) -> Line:
    """Time both in turn, after one call of each that is not counted."""
    ours()
    theirs()
    ratios = []
    for _ in range(pairs):
        fast = seconds(ours)
        ratios.append(seconds(theirs) / fast)
    return Line(name, versus, statistics.median(ratios), min(ratios), max(ratios))
