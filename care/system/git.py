"""Read the git commit of the running code."""

from __future__ import annotations

import subprocess
from typing import Any

from care.system.checkout import CODE, checkout
from care.system.files import read_json

SNAPSHOT = "snapshot.json"
"""File beside a copy of the code with its version and git state at the time of the copy."""
_BUILD = "care/build.json"
"""File of a wheel with the git state at the time of the build."""
_FIELDS = ("git_commit", "git_dirty")


def git(*arguments: str) -> str | None:
    """Return the output of git in the checkout of this code, or None outside of a checkout."""
    folder = checkout()
    if folder is None:
        return None
    command = ["git", "-C", str(folder), *arguments]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()


def git_state() -> dict[str, Any]:
    """Return the code's commit and whether it has uncommitted changes.

    Of a copy it is the state when it was made, of an installation that when it was built.
    """
    recorded = read_json(CODE / SNAPSHOT)
    if not recorded and checkout() is None:
        recorded = read_json(CODE / _BUILD) or dict.fromkeys(_FIELDS)
    if recorded:
        return {field: recorded.get(field) for field in _FIELDS}
    changes = git("status", "--porcelain")
    dirty = None if changes is None else bool(changes)
    return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": dirty}
