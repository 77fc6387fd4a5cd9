"""The command that runs a sweep again as it was last started."""

from __future__ import annotations

import shlex

from care.trials.records import SweepRecord


def format_command(declaration: SweepRecord, *options: str) -> str:
    """Format the command that runs a sweep with its overrides and profile, quoted for a shell."""
    profile = ["--profile", declaration.profile] if declaration.profile else []
    words = ["care", "sweep", "run", declaration.file, *declaration.overrides, *profile]
    return shlex.join([*words, *options])
