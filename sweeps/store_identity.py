"""The identity of a store, which separates its runs from other stores' on a shared MLflow server.

``store.json`` holds a ``uuid`` and the ``place`` (a file URI) where the store was last written. A
store that was moved keeps its uuid. A copy of a store that still exists gets a uuid of its own at
its first write, so that the two never write the same runs. Where the original cannot be seen at its
old place, a copy is taken for the moved store.
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
    """Make sure that a store has a uuid that no other living store has.

    Safe between processes that create the store at the same moment.

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
                "it gets an identity of its own, and runs of its own in MLflow."
            )
        write_json(path, settled)
        return settled


def _folder(known: dict[str, Any]) -> Path:
    """The folder where a store was last written."""
    return Path(os.fsdecode(unquote_to_bytes(urlparse(str(known.get("place", ""))).path)))


def _is_here(known: dict[str, Any], root: Path) -> bool:
    """Whether the recorded place is this folder, perhaps by another path."""
    if known.get("place") == root.resolve().as_uri():
        return True
    try:
        return _folder(known).samefile(root)
    except (OSError, ValueError):
        return False


def _lives_elsewhere(known: dict[str, Any]) -> bool:
    """Whether the recorded place holds a store of this uuid still, as far as can be seen.

    A place that this user may not look at counts: runs that stand twice do no harm, runs that two
    stores write do.
    """
    try:
        original = read_json(_folder(known) / "store.json")
    except CareError:
        return True
    except (OSError, ValueError):
        return False
    return original is not None and original.get("uuid") == known["uuid"]
