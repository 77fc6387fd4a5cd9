"""Errors that are the user's to mend: what was given, what is allowed, what comes close."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

_MOST_SHOWN = 20
_LONGEST = 300
_LONGEST_NAME = 100


class CareError(Exception):
    """Base of every error whose message is meant for the user and needs no traceback."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input.

    Attributes:
        field: Dotted path of the field, or the name of the file or option.
        value: What was given.
        allowed: What would have been accepted, in words.
        nearest: The valid name closest to a misspelt one, if there is one.
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
    """An input was refused before anything was started or written."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        lines = [f"  {problem}" for problem in self.problems[:_MOST_SHOWN]]
        if len(self.problems) > _MOST_SHOWN:
            lines.append("  … and more")
        super().__init__("\n".join([f"{source}:", *lines]))


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that is most like ``name``, or None when nothing is close."""
    if len(name) > _LONGEST_NAME:
        return None
    matches = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown_name(field: str, name: object, valid: Iterable[str]) -> Problem:
    """The problem of a name that is not among the ``valid`` ones."""
    names = sorted(valid)
    return Problem(field, name, f"allowed: {', '.join(names)}", nearest(str(name), names))


def shortened(value: object) -> str:
    """Return the repr of a value, cut in its middle where it is long."""
    try:
        return _cut(repr(value))
    except (ValueError, RecursionError):  # more digits than Python prints; a list in itself
        return f"a {type(value).__name__} too large to show"


def _cut(text: str) -> str:
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} … {text[-half:]}"
