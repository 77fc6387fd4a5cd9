"""Read the git commit of the running code."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from care.system.files import read_json

SNAPSHOT = "snapshot.json"
"""File beside a copy of the code with the git state at the time of the copy."""


def _git(*arguments: str) -> str | None:
    """Return the output of git in the checkout of this code, or None outside of a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()


def git_state() -> dict[str, Any]:
    """Return the code's commit and whether it has uncommitted changes, or those of its copy."""
    snapshot = read_json(Path(__file__).parents[2] / SNAPSHOT)
    if snapshot:
        return dict(snapshot)
    changes = _git("status", "--porcelain")
    dirty = None if changes is None else bool(changes)
    return {"git_commit": _git("rev-parse", "HEAD"), "git_dirty": dirty}
