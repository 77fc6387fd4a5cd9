"""Read the git commit of the running code."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from care.system.checkout import CODE, checkout
from care.system.files import read_json

SNAPSHOT = "snapshot.json"
"""File beside a copy of the code with its version and git state at the time of the copy."""
_BUILD = "care/build.json"
"""File of a wheel with the git state at the time of the build."""
_SECONDS = 30.0
_FIELDS = ("git_commit", "git_dirty")
_OF_A_REPOSITORY = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
)


def git_environment() -> dict[str, str]:
    """Return the environment for git, which finds the repository by its folder alone.

    In a hook, variables name the repository whose hook it is.
    """
    return {name: text for name, text in os.environ.items() if name not in _OF_A_REPOSITORY}


def git(*arguments: str) -> str | None:
    """Return the output of git in the checkout of this code, or None outside of a checkout."""
    folder = checkout()
    if folder is None:
        return None
    command = ["git", "-C", str(folder), *arguments]
    try:
        process = subprocess.run(
            command,
            env=git_environment(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=True,
        )
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
