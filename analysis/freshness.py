"""Whether a report still says what the store holds, so that it need not be written again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from analysis.summary import SweepSummary

NAME = "inputs.sha256"
_READ = (
    "metrics.jsonl",
    "timings.jsonl",
    "evaluation.json",
    "details.npz",
    "status.json",
    "provenance.json",
)


def fingerprint(store_trials: Path, summary: SweepSummary) -> str:
    """SHA-256 of everything that a report is made from: the sweep, its trials' files, this code."""
    digest = hashlib.sha256(repr(summary).encode())
    for file in [*_own_code(), *_files(store_trials, summary)]:
        content = file.read_bytes() if file.exists() else b""
        digest.update(f"{file.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def is_current(out: Path, inputs: str) -> bool:
    """Whether the report in ``out`` was made from ``inputs``, a :func:`fingerprint`."""
    file = out / NAME
    return file.exists() and file.read_text(encoding="utf-8") == inputs


def _files(store_trials: Path, summary: SweepSummary) -> Iterator[Path]:
    for member in summary.members:
        for name in _READ:
            yield store_trials / member.trial_id / name


def _own_code() -> list[Path]:
    here = Path(__file__).parent
    return sorted([*here.rglob("*.py"), *(here / "templates").iterdir()])
