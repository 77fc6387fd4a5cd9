"""``care --version``."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import care
from care.system.git import git_state


def describe_version() -> str:
    """Describe the versions of care, its commit, Python and torch, which is not imported."""
    state = git_state()
    commit = (state.get("git_commit") or "")[:8]
    changed = " with changes" if commit and state.get("git_dirty") else ""
    where = f" ({commit}{changed})" if commit else ""
    try:
        torch = f"torch {version('torch')}"
    except PackageNotFoundError:
        torch = "no torch"
    return f"care {care.__version__}{where}, Python {platform.python_version()}, {torch}"
