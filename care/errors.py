"""Errors that the user can fix: given value, allowed values, and the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

_MOST_SHOWN = 20
_LONGEST = 300
_LONGEST_NAME = 100


class CareError(Exception):
    """Base of all errors with a message for the user, shown without a traceback."""


@dataclass(frozen=True)
class Problem:
    """One invalid field of an input.

    Attributes:
        field: Dotted path of the field, or name of the file or option.
        value: The given value.
        allowed: Description of the allowed values.
        nearest: The valid name closest to a misspelt one, if any.
    """

    field: str
    value: object
    allowed: str
    nearest: str | None = None

    def __str__(self) -> str:
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        field = _cut(self.field)
        return f"{field}: got {shortened(self.value)}; {self.allowed}{hint}"


class ConfigError(CareError):
    """An input is invalid; nothing was started or written."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        lines = [f"  {problem}" for problem in self.problems[:_MOST_SHOWN]]
        if len(self.problems) > _MOST_SHOWN:
            lines.append("  … and more")
        super().__init__("\n".join([f"{source}:", *lines]))


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Find the valid name closest to ``name``, or the only one it begins; None if none is close."""
    if len(name) > _LONGEST_NAME:
        return None
    names = list(valid)
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if matches:
        return matches[0]
    begun = [longer for longer in names if name and longer.startswith(name)]
    return begun[0] if len(begun) == 1 else None


def unknown_name(field: str, name: object, valid: Iterable[str]) -> Problem:
    """Build the problem of a name that is not among the ``valid`` ones."""
    names = sorted(valid)
    return Problem(field, name, f"allowed: {', '.join(names)}", nearest(str(name), names))


def shortened(value: object) -> str:
    """Return the repr of a value, with the middle of a long one cut out."""
    try:
        return _cut(repr(value))
    except (ValueError, RecursionError):  # an int with too many digits; a list that contains itself
        return f"a {type(value).__name__} too large to show"


def _cut(text: str) -> str:
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} … {text[-half:]}"
