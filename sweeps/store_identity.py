"""The identity of a store, which separates its runs from other stores' on a shared MLflow server.

``store.json`` holds a ``uuid`` and a ``place``: the store's file URI at the last write. A moved
store keeps its uuid. A copy of a store that still exists gets a new uuid at its first write, so
that the two never write to each other's runs. If the original is not at its recorded path, the copy
counts as the moved store.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlparse

from care.errors import CareError
from care.system.files import read_json, write_json
from care.trials.folder import FORMAT
from sweeps.process.lock import locked


def settle_identity(root: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Give a store a uuid that no other existing store has.

    Several processes may call this at one time, even while they create the store.

    Args:
        root: Folder of the store; it exists.
        say: Called with a line for the user when the store is a copy.

    Returns:
        The content of ``store.json``: ``format``, ``uuid``, ``place`` and, in a copy,
        ``copied_from`` (the uuid of the original).

    Raises:
        DiskError: ``store.json`` cannot be written.
    """
    path = root / "store.json"
    known = read_json(path) or {}
    if known.get("uuid") and _is_here(known, root):
        return dict(known)
    with locked(root / ".store.lock", say):
        known = read_json(path) or {}
        if known.get("uuid") and _is_here(known, root):
            return dict(known)
        settled = {"format": FORMAT, **known, "place": root.resolve().as_uri()}
        if not known.get("uuid"):
            settled["uuid"] = uuid.uuid4().hex
        elif _lives_elsewhere(known):
            settled["uuid"], settled["copied_from"] = uuid.uuid4().hex, known["uuid"]
            say(
                f"{root} is a copy of the store in {_folder(known)}, which still exists: "
                "it gets its own identity, and its own runs in MLflow."
            )
        write_json(path, settled)
        return settled


def _folder(known: dict[str, Any]) -> Path:
    """Return the path of a store at its last write."""
    return Path(os.fsdecode(unquote_to_bytes(urlparse(str(known.get("place", ""))).path)))


def _is_here(known: dict[str, Any], root: Path) -> bool:
    """Check that the recorded path is this folder, perhaps through a link."""
    if known.get("place") == root.resolve().as_uri():
        return True
    try:
        return _folder(known).samefile(root)
    except (OSError, ValueError):
        return False


def _lives_elsewhere(known: dict[str, Any]) -> bool:
    """Check whether the recorded path still holds a store of this uuid.

    True for a path that this user may not read: a duplicate of each run is harmless, two stores
    that write to one run are not.
    """
    try:
        original = read_json(_folder(known) / "store.json")
    except CareError:
        return True
    except (OSError, ValueError):
        return False
    return original is not None and original.get("uuid") == known["uuid"]
