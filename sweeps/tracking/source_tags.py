"""The tags that MLflow shows as the source of a run: user, command, file and commit."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from typing import Any

from care.system.git import git_state
from sweeps.tracking.tracking_uri import redact


def user_name() -> str:
    """Return the user's name, or the user's id if the system has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def describe_start() -> dict[str, Any]:
    """Collect the facts about a start for ``sweep.json``: user, command, commit.

    The command is as typed, without passwords.
    """
    return {
        "user": user_name(),
        "command": redact(shlex.join(["care", *sys.argv[1:]])),
        "git_commit": git_state()["git_commit"],
    }


def source_tags(declaration: dict[str, Any]) -> dict[str, str]:
    """Make MLflow's tags for the source of a run: the sweep's file, the command, the commit.

    Args:
        declaration: A sweep's ``sweep.json``, perhaps of an older version with fewer fields.
    """
    file = str(declaration.get("file", ""))
    command = str(declaration.get("command") or f"care sweep run {file}".strip())
    tags = {
        # MLflow's page shows only the part after the last slash, so a command would be cut.
        "mlflow.source.name": file or "care",
        "mlflow.source.type": "JOB" if command.startswith("care sweep submit") else "LOCAL",
        "command": command,
    }
    if declaration.get("git_commit"):
        tags["mlflow.source.git.commit"] = str(declaration["git_commit"])
    return tags


def user_tag(declaration: dict[str, Any]) -> dict[str, str]:
    """Make MLflow's tag for the user of a new run."""
    return {"mlflow.user": str(declaration.get("user") or user_name())}
