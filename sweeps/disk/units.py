"""Format bytes, and parse and format ages: 30d."""

from __future__ import annotations

import re

from care.errors import ConfigError, Problem

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000
_SMALL = 10
_AGE = re.compile(r"(\d{1,6})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
DAY_SECONDS = 24 * 3600.0


def format_bytes(count: int) -> str:
    """Format a number of bytes with its decimal unit, e.g. 1.6 GB."""
    value, unit = float(count), 0
    while round(value) >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    digits = 1 if unit and value < _SMALL else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"


def parse_age(text: str) -> float:
    """Return an age in seconds.

    Args:
        text: A number of hours, days or weeks: ``12h``, ``30d``, ``4w``.

    Raises:
        ConfigError: No such age.
    """
    match = _AGE.fullmatch(text.strip())
    if not match:
        allowed = "allowed: a number of hours, days or weeks, e.g. 12h, 30d or 4w"
        raise ConfigError("command line", [Problem("--older", text, allowed)])
    return int(match[1]) * _HOURS[match[2]] * 3600.0
