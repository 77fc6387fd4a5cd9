"""The command that runs a sweep again as it was last started."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from care.trials.records import SweepRecord


def format_command(declaration: SweepRecord, *options: str) -> str:
    """Format the command that runs a sweep with its overrides and profile, quoted for a shell."""
    profile = ["--profile", declaration.profile] if declaration.profile else []
    words = ["care", "sweep", "run", declaration.file, *declaration.overrides, *profile]
    return shlex.join([*words, *options])


def format_release(name: str, chosen: Sequence[str] = (), command: str = "") -> str:
    """Format the command that releases held trials of a sweep, quoted for a shell.

    Args:
        name: The sweep's name.
        chosen: The trials; all without them.
        command: The command that runs the sweep, whose store it names, too.
    """
    words = shlex.split(command)
    store = words[words.index("--store") :][:2] if "--store" in words else []
    return shlex.join(["care", "sweep", "release", name, *chosen, *store])
