"""Modes of the files of a store: private to its user, or shared with a group (docs/security.md).

A new file or folder is shared if its folder is: one with the setgid bit and all rights for the
group. Everything else is private, whatever the umask. The root of a store follows the setting in
its ``store.json`` only, so that a folder of a group shares no store by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import stat
from pathlib import Path

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
GROUP_FILE, GROUP_FOLDER = 0o660, 0o2770
STORE = "store.json"
_SHARED = stat.S_ISGID | stat.S_IRWXG
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def is_shared(folder: Path) -> bool:
    """Check whether new files of a folder are shared with its group."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return mode & _SHARED == _SHARED and not _is_private_store(folder)


def _is_private_store(folder: Path) -> bool:
    """Check for the root of a store without the setting for a group."""
    try:
        record = json.loads((folder / STORE).read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return not isinstance(record, dict) or record.get("access") != "group"


def file_mode(folder: Path) -> int:
    """Return the mode of a new file in a folder."""
    return GROUP_FILE if is_shared(folder) else PRIVATE_FILE


def folder_mode(folder: Path) -> int:
    """Return the mode of a new folder in a folder."""
    return GROUP_FOLDER if is_shared(folder) else PRIVATE_FOLDER


def open_file(path: Path, flags: int, parent: Path | None = None) -> int:
    """Open a file of a store, and give it its mode if this user owns it.

    Args:
        path: The file; a link is refused.
        flags: Of ``os.open``.
        parent: The folder whose files have the mode; by default that of ``path``.

    Returns:
        A descriptor.

    Raises:
        OSError: The file cannot be opened.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    _set_mode(descriptor, file_mode(parent or path.parent))
    return descriptor


def make_file(path: Path, content: bytes) -> None:
    """Write a new file of a store, or replace the content of one.

    Raises:
        OSError: The file cannot be written.
    """
    descriptor = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def make_folder(path: Path, mode: int | None = None) -> None:
    """Make a folder of a store and its missing parents; one that exists stays as it is.

    Args:
        path: The folder.
        mode: Its mode; by default as its parent says.

    Raises:
        OSError: The folder cannot be made.
    """
    try:
        path.mkdir(PRIVATE_FOLDER)
    except FileNotFoundError:
        if path.parent == path:
            raise
        make_folder(path.parent)
        make_folder(path, mode)
        return
    except OSError:
        if not path.is_dir():
            raise
        return
    wanted = folder_mode(path.parent) if mode is None else mode
    if not set_mode(path, wanted) and wanted == PRIVATE_FOLDER:
        # The umask took even this user's own rights, so it cannot be opened.
        with contextlib.suppress(OSError):
            path.chmod(wanted)


def adopt(path: Path, *, shared: bool | None = None) -> None:
    """Give the modes of the store to a file or folder that a library wrote, and all in it.

    Files of other users and links are left as they are.

    Args:
        path: The file or folder.
        shared: Whether its group may use it; by default as its parent says.
    """
    if shared is None:
        shared = is_shared(path.parent)
    set_mode(path, _mode(path, shared))
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            entry = Path(folder, name)
            set_mode(entry, _mode(entry, shared))


def _mode(path: Path, shared: bool) -> int:
    if path.is_dir():
        return GROUP_FOLDER if shared else PRIVATE_FOLDER
    return GROUP_FILE if shared else PRIVATE_FILE


def set_mode(path: Path, mode: int) -> bool:
    """Set the mode of a file or folder of this user; a link is not followed.

    Returns:
        Whether it has the mode now. A disk without modes keeps its own.
    """
    try:
        status = path.lstat()
        if status.st_uid != os.geteuid() or not _is_plain(status.st_mode):
            return False
        if stat.S_IMODE(status.st_mode) == mode:
            return True
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _set_mode(descriptor, mode)
    finally:
        os.close(descriptor)


def _is_plain(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _set_mode(descriptor: int, mode: int) -> bool:
    """Set the mode of an open file of this user."""
    status = os.fstat(descriptor)
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != mode:
        with contextlib.suppress(OSError):  # a disk without modes
            os.fchmod(descriptor, mode)
            return True
        return False
    return stat.S_IMODE(status.st_mode) == mode


def is_open(path: Path, *, group: bool = False) -> bool:
    """Check whether others may use a file or folder.

    Args:
        path: The file or folder.
        group: Whether its group may.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return _is_plain(mode) and bool(mode & (stat.S_IRWXO if group else _FOR_OTHERS))


def user_of(path: Path) -> str:
    """Return the name of the user that owns a path, or ``user <id>``; empty if unknown."""
    try:
        uid = path.lstat().st_uid
    except OSError:
        return ""
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
