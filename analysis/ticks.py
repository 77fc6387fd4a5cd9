"""Ticks of an axis with the numbers of a sweep, of any distance and length."""

from __future__ import annotations

import math
from collections.abc import Sequence

_CHARACTER = 0.028  # width of a label's character, in widths of the axis of a small panel
_EDGE = 0.04  # of an axis that is drawn beyond the outermost values, in their range
_DENSE = ((1, 2, 5), (1, 3))  # ticks in each decade


def blank_overlapping(
    xs: Sequence[float], labels: Sequence[str], width: float | None = None
) -> list[str]:
    """Replace each label that would overlap the one before with an empty string.

    Args:
        xs: Coordinates, in any order.
        labels: The label of each.
        width: Range of coordinates that the axis shows; by default from the first to the last.
    """
    character = _CHARACTER * (width or max(xs) - min(xs) or 1.0)
    shown, end = list(labels), -math.inf
    for index in sorted(range(len(xs)), key=xs.__getitem__):
        half = (len(labels[index]) + 1) * character / 2
        if xs[index] - half < end:
            shown[index] = ""
        else:
            end = xs[index] + half
    return shown


def round_ticks(values: Sequence[float]) -> list[float]:
    """Choose round numbers for the ticks of a logarithmic axis, as many as do not overlap.

    Args:
        values: Positive numbers, the largest at least five times the smallest.
    """
    low, high = math.log10(min(values)), math.log10(max(values))
    powers = range(math.floor(low), math.ceil(high) + 1)
    choices = [[factor * 10.0**power for power in powers for factor in few] for few in _DENSE]
    choices += [
        [10.0**power for power in powers if power % step == 0] for step in range(1, len(powers))
    ]
    edge = _EDGE * (high - low)
    for ticks in choices:
        inside = [tick for tick in ticks if low - edge <= math.log10(tick) <= high + edge]
        labels = [f"{tick:g}" for tick in inside]
        if all(blank_overlapping([math.log10(tick) for tick in inside], labels, high - low)):
            break
    return inside
