"""What one check found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        what: What was looked at.
        verdict: ``bad`` keeps sweeps from running; a ``note`` is worth knowing.
        detail: What was seen.
        mend: What to do about it; empty when it is well.
    """

    what: str
    verdict: Verdict
    detail: str
    mend: str = ""


Check = Callable[[], Iterator[Finding]]


def ok(what: str, detail: str) -> Finding:
    """It is well."""
    return Finding(what, "ok", detail)


def note(what: str, detail: str, mend: str = "") -> Finding:
    """It works, but somebody may want to know."""
    return Finding(what, "note", detail, mend)


def bad(what: str, detail: str, mend: str) -> Finding:
    """No sweep can run so."""
    return Finding(what, "bad", detail, mend)
