"""Who may use a store: its user alone, or a group (docs/security.md).

The setting is in ``store.json``. Every first write to a store closes what the setting does not
allow: a store of an earlier version, which had the modes of its user's umask, becomes private.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from care.errors import CareError
from care.system.files import write_json
from care.system.permissions import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    STORE,
    is_open,
    make_folder,
    set_mode,
    user_of,
)
from care.trials.records import StoreRecord, read_record
from sweeps.process.lock import locked

_log = logging.getLogger(__name__)

_OURS = re.compile(
    r"trials|sweeps|archive|references|mlflow-artifacts|deleted\.jsonl.*|\.?store\..*|"
    r"\.?mlflow\.(db|lock).*|\.pull.*|\.doctor-.*"
)


def make_root(root: Path) -> None:
    """Make the folder of a store, private; one that exists stays as it is.

    Raises:
        OSError: The folder cannot be made.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    make_folder(root, PRIVATE_FOLDER)


def own_entries(root: Path) -> list[Path]:
    """List the files and folders of a store directly in its root, and no others there."""
    return sorted(path for path in root.iterdir() if _OURS.fullmatch(path.name))


def is_alone(root: Path) -> bool:
    """Check that a folder holds a store and nothing else, so that its mode is the store's."""
    return all(_OURS.fullmatch(path.name) for path in root.iterdir())


def open_entries(root: Path, *, group: bool) -> list[Path]:
    """List the parts of a store that other users can reach; its root stands for all in it.

    Args:
        root: Folder of the store.
        group: Whether a group may.
    """
    if not is_open(root, group=group):
        return []
    if is_alone(root):
        return [root]
    return [path for path in own_entries(root) if is_open(path, group=group)]


def settle_access(root: Path, *, new: bool) -> None:
    """Close what the setting of a store does not allow; the first time, it becomes private.

    Args:
        root: Folder of the store.
        new: Whether the store was made just now; else a line names what was open.

    Raises:
        DiskError: ``store.json`` cannot be written.
    """
    if root.stat().st_uid != os.geteuid():
        return  # only its owner decides
    record = read_record(root / STORE, StoreRecord)
    if record is not None and record.access is None:
        record = write_setting(root, None)
    shared = record is not None and record.access == "group"
    closed = [path for path in open_entries(root, group=shared) if _close(path, shared)]
    if closed and not new:
        names = ", ".join(str(path) for path in closed[:3])
        _log.warning(
            f"{names}: was open to other users and is {'for its group' if shared else 'private'} "
            f"now. To share the store with a group: care store access --group NAME --store {root}"
        )


def write_setting(root: Path, group: str | None) -> StoreRecord:
    """Record who may use a store.

    Args:
        root: Folder of the store.
        group: The group that shares it; None for its user alone.

    Raises:
        CareError: ``store.json`` is missing or damaged.
        DiskError: It cannot be written.
    """
    with locked(root / ".store.lock"):
        record = read_record(root / STORE, StoreRecord)
        if record is None:
            raise CareError(f"{root}: no store is here; {STORE} is missing")
        access = "private" if group is None else "group"
        record = record.model_copy(update={"access": access, "group": group})
        write_json(root / STORE, record.model_dump(exclude_none=True), in_store=True)
    return record


def _close(path: Path, shared: bool) -> bool:
    mode = path.lstat().st_mode
    if mode & stat.S_ISVTX:
        return False  # a folder of the machine, e.g. /tmp
    if shared:
        return set_mode(path, stat.S_IMODE(mode) & ~stat.S_IRWXO)
    return set_mode(path, PRIVATE_FOLDER if stat.S_ISDIR(mode) else PRIVATE_FILE)


def explain_denied(path: Path) -> str:
    """Say whose permission is missing for a path, and how they give it; empty if none is."""
    for folder in reversed([path, *path.absolute().parents]):
        for name in _closed(folder):
            return (
                f"{name} is private to {user_of(name) or 'another user'}. "
                "Ask them for access: care store access --group NAME"
            )
    return ""


def _closed(path: Path) -> Iterator[Path]:
    """Yield a path that exists and that this user may not use."""
    needed = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    if os.path.lexists(path) and not os.access(path, needed, effective_ids=True):
        yield path
