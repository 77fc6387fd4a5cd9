"""``care model register``."""

from __future__ import annotations

from pathlib import Path

from sweeps.cli.track import open_store
from sweeps.process.terminal import make_console


def register_command(
    root: Path,
    digits: str,
    name: str,
    alias: str,
    uri: str | None,
    *,
    unfinished: bool,
    stale: bool,
) -> None:
    """Register the encoder of a trial and print how to load it."""
    from sweeps.tracking.register import register

    made = register(open_store(root), digits, name, alias, uri, unfinished=unfinished, stale=stale)
    console = make_console()
    known = "" if made.new else ", as before"
    console.print(f"trial {made.trial} is version {made.version} of model {made.name}{known}")
    console.print(f"load it: care.load({made.address!r})")
