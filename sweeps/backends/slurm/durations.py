"""Durations as SLURM writes them."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


def parse_duration(text: str) -> int | None:
    """Return the seconds of a duration in one of SLURM's notations.

    Without days the first number is minutes, or hours where two others follow: ``90``, ``30:00``,
    ``4:00:00``. After days it is hours: ``1-12``, ``1-12:30``, ``1-12:30:00``.

    Returns:
        Seconds; None for ``UNLIMITED``, ``infinite`` and what is no duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    first, second, third = (int(number or 0) for number in match.groups()[1:])
    if match[1] is None and match[4] is None:  # "minutes" or "minutes:seconds"
        return 60 * first + second
    return 86400 * int(match[1] or 0) + 3600 * first + 60 * second + third
