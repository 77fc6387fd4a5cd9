"""The tags that MLflow shows as the source of a run: user, command, file and commit."""

from __future__ import annotations

import getpass
import os
import shlex
import sys

from care.system.redaction import redact
from care.trials.records import SweepRecord
from sweeps.sweep_command import format_command


def user_name() -> str:
    """Return the user's name, or the user's id if the system has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def command_line() -> str:
    """Return the command as typed, without passwords."""
    return redact(shlex.join(["care", *sys.argv[1:]]))


def source_tags(declaration: SweepRecord | None) -> dict[str, str]:
    """Make MLflow's tags for the source of a run: the sweep's file, the command, the commit.

    Args:
        declaration: The sweep, perhaps as an older version stored it, with fewer fields; None if
            it cannot be read.
    """
    file = declaration.file if declaration else ""
    command = "care sweep run"
    if declaration:
        command = declaration.command or format_command(declaration)
    tags = {
        # MLflow's page shows only the part after the last slash, so a command would be cut.
        "mlflow.source.name": file or "care",
        "mlflow.source.type": "JOB" if command.startswith("care sweep submit") else "LOCAL",
        "care.command": command,
    }
    if declaration and declaration.git_commit:
        tags["mlflow.source.git.commit"] = declaration.git_commit
    return tags


def user_tag(declaration: SweepRecord | None) -> dict[str, str]:
    """Make MLflow's tag for the user of a new run."""
    return {"mlflow.user": (declaration and declaration.user) or user_name()}
