"""Remove files and folders so that a killed removal leaves nothing half removed."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from care.system.files import DiskError


def discard(path: Path) -> None:
    """Remove a file or folder that no other process uses.

    A folder is first renamed to ``.deleted-<name>-<token>``, which only a garbage collection looks
    at. So it is either whole or gone.

    Raises:
        DiskError: The folder cannot be written.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            remove_tree(hide(path))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise DiskError(path, error) from error


def hide(path: Path) -> Path:
    """Rename a folder to the name of one that is being deleted, and return its new path."""
    if path.name.startswith(".deleted-"):
        return path
    hidden = path.with_name(hidden_name(path.name))
    path.rename(hidden)
    return hidden


def hidden_name(name: str) -> str:
    """Make a unique name for a folder that is being deleted."""
    return f".deleted-{name}-{secrets.token_hex(4)}"


def remove_tree(folder: Path) -> None:
    """Remove a folder that another process may remove at the same time."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        shutil.rmtree(folder, ignore_errors=True)
