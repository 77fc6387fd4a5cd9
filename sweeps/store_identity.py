"""The identity of a store, which separates its runs from other stores' on a shared MLflow server.

``store.json`` holds a ``uuid`` and a ``place``: the store's file URI at the last write. A moved
store keeps its uuid. A copy of a store that still exists gets a new uuid at its first write, so
that the two never write to each other's runs. If the original is not at its recorded path, the copy
counts as the moved store.
"""

from __future__ import annotations

import logging
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlparse

from care.errors import CareError
from care.system.files import write_json
from care.trials.folder import FORMAT
from care.trials.records import StoreRecord, read_record
from sweeps.process.lock import locked

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoreIdentity:
    """What separates a store from all others.

    Attributes:
        uuid: Its own.
        copied_from: The uuid of the store of which it is a copy; None otherwise.
    """

    uuid: str
    copied_from: str | None = None


def settle_identity(root: Path) -> StoreIdentity:
    """Give a store a uuid that no other existing store has.

    Several processes may call this at one time, even while they create the store.

    Args:
        root: Folder of the store; it exists.

    Raises:
        DamagedFileError: ``store.json`` cannot be read.
        DiskError: ``store.json`` cannot be written.
    """
    path = root / "store.json"
    if settled := _read_settled(path):
        return settled
    with locked(root / ".store.lock"):
        if settled := _read_settled(path):
            return settled
        record = read_record(path, StoreRecord) or StoreRecord(format=FORMAT)
        changes = {"place": root.resolve().as_uri()}
        if not record.uuid:
            changes["uuid"] = uuid.uuid4().hex
        elif _lives_elsewhere(record):
            changes |= {"uuid": uuid.uuid4().hex, "copied_from": record.uuid}
            _log.warning(
                f"{root} is a copy of the store in {_folder(record)}, which still exists: "
                "it gets its own identity, and its own runs in MLflow."
            )
        record = record.model_copy(update=changes)
        write_json(path, record.model_dump(exclude_unset=True), in_store=True)
        return StoreIdentity(str(record.uuid), record.copied_from)


def _read_settled(path: Path) -> StoreIdentity | None:
    """Read the identity of a store that was last written where it is now; None otherwise."""
    record = read_record(path, StoreRecord)
    if record is None or not record.uuid or not _is_here(record, path.parent):
        return None
    return StoreIdentity(record.uuid, record.copied_from)


def _folder(record: StoreRecord) -> Path:
    """Return the path of a store at its last write."""
    return Path(os.fsdecode(unquote_to_bytes(urlparse(record.place or "").path)))


def _is_here(record: StoreRecord, root: Path) -> bool:
    """Check that the recorded path is this folder, perhaps through a link."""
    if record.place == root.resolve().as_uri():
        return True
    try:
        return _folder(record).samefile(root)
    except (OSError, ValueError):
        return False


def _lives_elsewhere(record: StoreRecord) -> bool:
    """Check whether the recorded path still holds a store of this uuid.

    True for a path that this user may not read: a duplicate of each run is harmless, two stores
    that write to one run are not.
    """
    try:
        original = read_record(_folder(record) / "store.json", StoreRecord)
    except CareError:
        return True
    except (OSError, ValueError):
        return False
    return original is not None and original.uuid == record.uuid
