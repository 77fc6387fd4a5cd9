"""``care track sync`` and ``care ui``."""

from __future__ import annotations

from pathlib import Path

from care.errors import CareError
from sweeps.process.terminal import make_console
from sweeps.store import Store


def sync_command(root: Path, uri: str | None) -> int:
    """Bring MLflow up to date with the store.

    Returns:
        0 when everything is there, 1 when something of the store cannot be read.
    """
    from sweeps.tracking.sweep_sync import sync_store

    console = make_console()
    synced = sync_store(_existing(root), uri, console.print)
    for line in synced.left_out:
        console.print(line)
    console.print(f"MLflow is up to date: {synced.sweeps} sweeps, {synced.trials} trials")
    return 1 if synced.left_out else 0


def ui_command(root: Path, host: str, port: int, uri: str | None) -> int:
    """Serve the MLflow page, or name the server's; the exit status."""
    from sweeps.tracking.server import serve

    return serve(_existing(root), host, port, uri)


def _existing(root: Path) -> Store:
    if not (root / "store.json").exists():
        raise CareError(f"{root}: no store is here; run a sweep first, or name one with --store")
    return Store(root)
