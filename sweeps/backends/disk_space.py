"""Room on the disk of Ray's session: without it Ray's processes die, and the driver waits for them.

The store may lie on another disk. A trial that finds that one full waits by itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from care.errors import CareError
from sweeps.process.polling import polling

_log = logging.getLogger(__name__)

SESSION_BYTES = 64 * 2**20
"""Bytes for logs and sockets of a session of a few days, and for the reserve."""

_RESERVE_BYTES = 16 * 2**20
_ALMOST_FULL_BYTES = 4 * 2**20
_SESSION_FILES = 1000
_SHARED_MEMORY = Path("/dev/shm")
_POLL_SECONDS = 1.0


class NoRoomError(CareError):
    """The disk of Ray's session is full."""


def check_room(folder: Path, object_store: int) -> None:
    """Refuse to start Ray where its session has no room.

    Args:
        folder: Parent of the session's folder.
        object_store: Bytes of Ray's object store, which lies there if shared memory is too small.

    Raises:
        NoRoomError: Names the folder, what is free and what is needed.
    """
    needed = SESSION_BYTES
    if _free(_SHARED_MEMORY) < object_store:
        needed += object_store
    free = _free(folder)
    if free < needed:
        raise NoRoomError(
            f"{folder}: {free / 2**20:.0f} MiB are free where Ray keeps its session, which needs "
            f"{needed / 2**20:.0f} MiB. Free some space, or name a folder on another disk in "
            "TMPDIR (18 characters at most)."
        )
    files = os.statvfs(folder)
    if files.f_files and files.f_favail < _SESSION_FILES:
        raise NoRoomError(
            f"{folder}: the disk where Ray keeps its session has room for {files.f_favail} more "
            f"files; {_SESSION_FILES} are needed. Remove some, or name a folder on another disk "
            "in TMPDIR (18 characters at most)."
        )


@contextlib.contextmanager
def watched(folder: Path, on_full: Callable[[], None]) -> Iterator[None]:
    """Watch the disk of Ray's session while entered.

    A reserve is kept there and given up when the disk fills, so that Ray can end in order.

    Args:
        folder: The session's folder.
        on_full: Called once, in another thread, after the warning.
    """
    reserve = folder / "reserve"
    with contextlib.suppress(OSError), reserve.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES)

    def look() -> bool:
        if _free(folder) >= _ALMOST_FULL_BYTES:
            return False
        with contextlib.suppress(OSError):
            reserve.unlink()
        _log.warning(
            "The disk of %s is full; Ray cannot work without it. The trials pause. "
            "Free some space there, or name a folder on another disk in TMPDIR.",
            folder,
        )
        on_full()
        return True

    with polling("disk-watch", _POLL_SECONDS, look):
        yield


def _free(folder: Path) -> int:
    """Return the bytes that this user can still write there; 0 if the folder does not exist."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize
