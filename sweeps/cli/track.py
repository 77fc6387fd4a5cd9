"""``care track sync`` and ``care ui``."""

from __future__ import annotations

from pathlib import Path

from care.errors import CareError
from sweeps.process.terminal import make_console
from sweeps.store import Store


def sync_command(root: Path, uri: str | None) -> int:
    """Bring MLflow up to date with the store.

    Returns:
        0 if MLflow has everything, 1 if a part of the store cannot be read.
    """
    from sweeps.tracking.sweep_sync import sync_store

    console = make_console()
    synced = sync_store(open_store(root), uri)
    for line in synced.left_out:
        console.print(line)
    console.print(f"MLflow is up to date: {synced.sweeps} sweeps, {synced.trials} trials")
    return 1 if synced.left_out else 0


def ui_command(
    root: Path,
    host: str,
    port: int,
    uri: str | None,
    target: str,
    *,
    browser: bool,
    allow_anyone: bool,
) -> int:
    """Serve the MLflow page, or print the server's address, and return the exit status."""
    from sweeps.tracking.server import serve

    options = {"browser": browser, "allow_anyone": allow_anyone}
    return serve(open_store(root), host, port, uri, target, **options)


def open_store(root: Path) -> Store:
    """Open the store in a folder.

    Raises:
        CareError: There is none.
    """
    store = Store(root)  # refuses another user's private store
    if not (root / "store.json").exists():
        raise CareError(f"{root}: no store is here; run a sweep first, or name one with --store")
    return store
