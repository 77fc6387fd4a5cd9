"""Short-lived file locks between the processes of a store."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from care.errors import CareError
from care.system import files
from care.system.files import DiskError

# On a file system without flock, e.g. Lustre mounted without it, processes continue unlocked.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Wait for the lock file at ``path`` and hold the lock; a folder of that name is set aside.

    Raises:
        CareError: The file belongs to another user and cannot be opened.
        DiskError: The folder of the lock cannot be written.
    """
    descriptor = _open(path, say)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        os.close(descriptor)


def _open(path: Path, say: Callable[[str], None]) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except IsADirectoryError:
            set_aside(path, "is a folder", say)
        except PermissionError as error:
            if not path.exists():
                raise DiskError(path, error) from error
            refuse_foreign(path)
            set_aside(path, "cannot be opened", say)
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
            f"{path}: belongs to user {owner} and cannot be written. "
            "Ask them for permission, or choose another store with --store."
        )


def set_aside(
    path: Path,
    reason: str,
    say: Callable[[str], None],
    companions: Iterable[str] = (),
    advice: str = "",
) -> None:
    """Rename an unusable file or folder and report it; nothing is deleted.

    Args:
        path: The file or folder.
        reason: The problem; continues a sentence that starts with its name.
        say: Called with a line for the user.
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
    say(f"{path} {reason}; it was set aside as {target.name}. {advice}".strip())
