"""Short-lived file locks between the processes of a store."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from care.errors import CareError
from care.system import files
from care.system.files import DiskError
from care.system.permissions import make_folder, open_file, user_of

_log = logging.getLogger(__name__)

# On a file system without flock, e.g. Lustre mounted without it, processes continue unlocked.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(path: Path, *, in_store: bool = True) -> Iterator[None]:
    """Wait for the lock file at ``path`` and hold the lock; a folder of that name is set aside.

    Args:
        path: The lock file.
        in_store: Whether it has the mode of a store's files; else the umask decides.

    Raises:
        CareError: The file belongs to another user and cannot be opened.
        DiskError: The folder of the lock cannot be written.
    """
    descriptor = _open(path, in_store)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        os.close(descriptor)


def _open(path: Path, in_store: bool) -> int:
    while True:
        try:
            if in_store:
                make_folder(path.parent)
                return open_file(path, os.O_RDWR | os.O_CREAT)
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except IsADirectoryError:
            set_aside(path, "is a folder")
        except PermissionError as error:
            if not path.exists():
                raise DiskError(path, error) from error
            refuse_foreign(path)
            set_aside(path, "cannot be opened")
        except OSError as error:
            raise DiskError(path, error) from error


def refuse_foreign(path: Path) -> None:
    """Refuse to change a file that another user owns.

    Raises:
        CareError: Names the owner's id and the ways to continue.
    """
    owner = path.stat().st_uid
    if owner != os.geteuid():
        raise CareError(
            f"{path}: belongs to {user_of(path)} and cannot be written. Ask them for permission "
            "(care store access --group NAME), or choose another store with --store."
        )


def set_aside(
    path: Path,
    reason: str,
    companions: Iterable[str] = (),
    advice: str = "",
) -> None:
    """Rename an unusable file or folder and report it; nothing is deleted.

    Args:
        path: The file or folder.
        reason: The problem; continues a sentence that starts with its name.
        companions: Suffixes of files that are renamed with it.
        advice: A sentence with instructions.

    Raises:
        DiskError: The folder cannot be written.
    """
    target = files.set_aside(path)
    if target is None:  # another process renamed it first
        return
    for ending in companions:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(target.with_name(target.name + ending))
    text = f"{path} {reason}; it was set aside as {target.name}. {advice}"
    _log.warning("%s", text.strip())
