"""``care track sync`` and ``care ui``."""

from __future__ import annotations

from pathlib import Path

from care.errors import CareError
from sweeps.store import Store
from sweeps.terminal import make_console


def sync_command(root: Path, uri: str | None) -> None:
    """Bring MLflow up to date with the store."""
    from sweeps.tracking.sweep import sync_store

    sweeps, trials = sync_store(_existing(root), uri)
    make_console().print(f"MLflow is up to date: {sweeps} sweeps, {trials} trials")


def ui_command(root: Path, host: str, port: int) -> int:
    """Serve the MLflow page; the exit status."""
    from sweeps.tracking.server import serve

    return serve(_existing(root).root, host, port)


def _existing(root: Path) -> Store:
    if not (root / "store.json").exists():
        raise CareError(f"{root}: no store is here; run a sweep first, or name one with --store")
    return Store(root)
