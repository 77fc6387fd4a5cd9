"""The state of git of the code that runs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from care.system.files import read_json

SNAPSHOT = "snapshot.json"
"""Beside a copy of the code: the state of git when it was made."""


def _git(*arguments: str) -> str | None:
    """Output of git on the checkout this code runs from, or None outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def git_state() -> dict[str, Any]:
    """Commit of this code and whether it was edited since: now, or when its copy was made."""
    snapshot = read_json(Path(__file__).parents[2] / SNAPSHOT)
    if snapshot:
        return dict(snapshot)
    changes = _git("status", "--porcelain")
    dirty = None if changes is None else bool(changes)
    return {"git_commit": _git("rev-parse", "HEAD"), "git_dirty": dirty}
