"""Make and remove local scratch folders for Ray's sockets and logs."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from pathlib import Path

from care.system.process import process_alive

_NAMESPACE = Path("/proc/self/ns/pid")
LONGEST_PARENT = 18
"""Characters. A Unix socket's path has at most 107, of which Ray and this module need the rest."""
_RAY = "r"


def make_scratch(parent: Path) -> Path:
    """Make a folder below ``parent``, and remove those that killed processes left there.

    Raises:
        OSError: ``parent`` cannot be written.
    """
    _remove_leftovers(parent)
    while True:
        folder = parent / f"{_prefix()}{os.getpid()}-{secrets.token_hex(1)}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            return folder


def remove_scratch(folder: Path) -> None:
    """Remove ``folder``, and those of killed processes again: their Rays may have kept writing."""
    shutil.rmtree(folder, ignore_errors=True)
    _remove_leftovers(folder.parent)


def folder_for_ray(scratch: Path) -> Path:
    """Make the folder of a Ray below ``scratch``.

    Ray makes its folder writable for every user of the machine. ``scratch`` stays private.
    """
    folder = scratch / _RAY
    folder.mkdir(exist_ok=True)
    return folder


def _prefix() -> str:
    """Return the prefix of this pid namespace; another container has other processes."""
    namespace = _NAMESPACE.stat().st_ino if _NAMESPACE.exists() else 0
    return f"care-{namespace & 0xFFFF:04x}-"


def _remove_leftovers(parent: Path) -> None:
    prefix = _prefix()
    for path in parent.glob(f"{prefix}*"):
        pid = path.name.removeprefix(prefix).partition("-")[0]
        with contextlib.suppress(OSError):
            found = path.lstat()  # not stat: another user could have planted a link
            own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if own and pid.isdigit() and not process_alive(int(pid)):
                shutil.rmtree(path, ignore_errors=True)
