"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One line of ``care doctor``.

    Attributes:
        subject: The part of the machine or cluster that was checked.
        verdict: ``bad`` keeps sweeps from running; a ``note`` does not.
        detail: The observed facts.
        fix: Instructions; empty if nothing is wrong.
    """

    subject: str
    verdict: Verdict
    detail: str
    fix: str = ""


def ok(subject: str, detail: str) -> Finding:
    """Report a part that works."""
    return Finding(subject, "ok", detail)


def note(subject: str, detail: str, fix: str = "") -> Finding:
    """Report a part that works with a limitation."""
    return Finding(subject, "note", detail, fix)


def bad(subject: str, detail: str, fix: str) -> Finding:
    """Report a part that keeps every sweep from running."""
    return Finding(subject, "bad", detail, fix)
