"""Locks between processes of one store that are held for a moment."""

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

# File systems without locks of this kind, e.g. Lustre mounted without them, work all the same.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Wait for the lock at ``path`` and hold it; a folder in its place is set aside.

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
    """Refuse to touch a file that another user owns.

    Raises:
        CareError: Names the owner's id and what to do.
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
    """Rename a file or folder that cannot be used, and report it; nothing is deleted.

    Args:
        path: The file or folder.
        reason: Why it cannot be used; continues a sentence that starts with its name.
        say: Called with a line for the user.
        companions: Endings of the names of files that go with it.
        advice: A sentence on what to do.

    Raises:
        DiskError: The folder cannot be written.
    """
    target = files.set_aside(path)
    if target is None:  # another process did it
        return
    for ending in companions:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(target.with_name(target.name + ending))
    say(f"{path} {reason}; it was set aside as {target.name}. {advice}".strip())
