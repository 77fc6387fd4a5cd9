"""The tag ``care.sync`` of a run: the versions of its parts that were written, as one JSON text."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sweeps.tracking.run import Run

SYNC = "care.sync"
NOTE = "mlflow.note.content"
LAYOUT = 3
"""Version of the runs' content. A run of an older layout is replaced by a new one, once."""

# Tags of runs that this project wrote, now or in older versions; all others are a reviewer's.
_OURS = (
    "answer", "code_version", "command", "device", "error", "git_commit", "git_dirty", "group_id",
    "hours", "mixed", "point", "precision", "seed", "slurm_job", "stale", "stale_reason", "state",
    "stopped", "sweep", "threads", "trial_id",
)  # fmt: skip
_OUR_PREFIXES = ("care.", "sweep.", "held.", "mlflow.")


def read_marks(run: Run) -> dict[str, Any]:
    """Return the marks of a run; empty for a run of an older layout, or if a user changed them."""
    try:
        marks = json.loads(run.tags.get(SYNC, "{}"))
    except ValueError:
        return {}
    return marks if isinstance(marks, dict) else {}


def is_old(run: Run) -> bool:
    """Check that a run has the layout of an older version."""
    return read_marks(run).get("layout") != LAYOUT


def set_marks(run: Run, **changes: Any) -> dict[str, str]:
    """Make the tag of a run with some marks changed."""
    return new_marks(**{**read_marks(run), **changes})


def new_marks(**marks: Any) -> dict[str, str]:
    """Make the tag of a new run."""
    return {SYNC: json.dumps({**marks, "layout": LAYOUT}, sort_keys=True, separators=(",", ":"))}


def kept_tags(old: Run) -> dict[str, str]:
    """Return the tags that a run takes over from the one it replaces: a reviewer's, and marks."""
    kept = {
        name: value
        for name, value in old.tags.items()
        if name not in _OURS and not name.startswith(_OUR_PREFIXES)
    }
    note = old.tags.get(NOTE)
    if note is None:
        return kept
    written = read_marks(old).get("note")
    if written is None and old.tags.get("care.note") == _old_digest(note):
        written = short_digest(note)
    return {**kept, NOTE: note, **new_marks(note=written or "")}


def _old_digest(text: str) -> str:
    return hashlib.sha256(json.dumps(text).encode()).hexdigest()[:32]


def short_digest(content: object) -> str:
    """Hash a JSON value to 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
