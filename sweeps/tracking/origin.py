"""Who started a sweep, with which command and code: the tags that MLflow shows as its source."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from typing import Any

from care.system.git import git_state
from sweeps.tracking.destination import redact


def user_name() -> str:
    """The user's name; the user's id when the system knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def describe_start() -> dict[str, Any]:
    """What ``sweep.json`` records of a start: user, command as typed without passwords, commit."""
    return {
        "user": user_name(),
        "command": redact(shlex.join(["care", *sys.argv[1:]])),
        "git_commit": git_state()["git_commit"],
    }


def source_tags(declaration: dict[str, Any]) -> dict[str, str]:
    """MLflow's tags of the source of a run: the sweep's file, the command, the commit.

    Args:
        declaration: A sweep's ``sweep.json``; fields that an older version left out are guessed
            or left out.
    """
    file = str(declaration.get("file", ""))
    command = str(declaration.get("command") or f"care sweep run {file}".strip())
    tags = {
        # MLflow's page shows what follows the last slash, which makes no sense of a command.
        "mlflow.source.name": file or "care",
        "mlflow.source.type": "JOB" if command.startswith("care sweep submit") else "LOCAL",
        "command": command,
    }
    if declaration.get("git_commit"):
        tags["mlflow.source.git.commit"] = str(declaration["git_commit"])
    return tags


def user_tag(declaration: dict[str, Any]) -> dict[str, str]:
    """MLflow's tag of the user of a run that is made."""
    return {"mlflow.user": str(declaration.get("user") or user_name())}
