"""``care store access``: who may use a store, and the modes of all its files.

Root may run this on a store into which others write. So every entry is opened by its name in an
open folder, a link is never followed, and modes are set on what was opened.
"""

from __future__ import annotations

import contextlib
import grp
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from care.errors import CareError, ConfigError, Problem, nearest
from care.system.permissions import (
    GROUP_FILE,
    GROUP_FOLDER,
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    user_of,
)
from sweeps.store import Store
from sweeps.store_access import is_alone, own_entries, write_setting

_PASSES = 3  # a running sweep may make folders of the old modes meanwhile
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass
class Changes:
    """The outcome of :func:`set_access`.

    Attributes:
        changed: Files and folders whose mode or group was changed.
        others: Files and folders of other users, which only they can change, by user id.
        linked: Files that have a name outside of the store; they are left as they are.
        failed: Files and folders that could not be opened or changed, with the reason.
    """

    changed: int = 0
    others: Counter[int] = field(default_factory=Counter)
    linked: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def find_group(name: str) -> int:
    """Return the id of a group that this user may give files to.

    Raises:
        ConfigError: There is no such group, or this user is no member.
    """
    own = sorted(_own_groups())
    with contextlib.suppress(KeyError):
        gid = grp.getgrnam(name).gr_gid
        if name in own or os.geteuid() == 0:
            return gid
    allowed = f"allowed: a group of yours ({', '.join(own)})"
    raise ConfigError("care store access", [Problem("--group", name, allowed, nearest(name, own))])


def _own_groups() -> Iterator[str]:
    for gid in {os.getegid(), *os.getgroups()}:
        with contextlib.suppress(KeyError):
            yield grp.getgrgid(gid).gr_name


def set_access(store: Store, group: str | None) -> Changes:
    """Share a store with a group, or make it private; a second call completes a killed one.

    Args:
        store: The store; its root may be a link.
        group: Name of the group; None for the store's user alone.

    Returns:
        What was changed and what was not.

    Raises:
        CareError: The store belongs to another user, or there is no such group.
        DiskError: ``store.json`` cannot be written.
    """
    gid = None if group is None else find_group(group)
    root = store.root.resolve()
    if os.geteuid() not in (0, root.stat().st_uid):
        raise CareError(f"{root}: belongs to {user_of(root)}; only they can share or close it")
    if gid is None:
        _close_root(root)  # at once, also if the rest is interrupted
    write_setting(root, group)
    changed = 0
    for _ in range(_PASSES):
        change = _Change(root, gid)
        change.run()
        if not change.done.changed:
            break
        changed += change.done.changed
    change.done.changed = changed  # the rest is as the last pass found it
    return change.done


def _close_root(root: Path) -> None:
    if is_alone(root):
        with _opened(os.fspath(root)) as descriptor:
            os.fchmod(descriptor, PRIVATE_FOLDER)


@contextlib.contextmanager
def _opened(name: str, parent: int | None = None, flags: int = 0) -> Iterator[int]:
    descriptor = os.open(name, _FLAGS | flags, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class _Change:
    """One pass over a store."""

    def __init__(self, root: Path, gid: int | None) -> None:
        self._root, self._gid = root, gid
        self._names: Counter[tuple[int, int]] = Counter()
        self.done = Changes()

    def run(self) -> None:
        """Set modes and group of every file and folder."""
        only = None if is_alone(self._root) else {path.name for path in own_entries(self._root)}
        root = os.fspath(self._root)
        with _opened(root, flags=os.O_DIRECTORY) as descriptor:
            self._count_names(descriptor, only)
            if only is None:
                self._apply(descriptor, root, private=False)
            elif self._gid is not None:
                # New parts of the store get their group from here; others keep what they have.
                os.fchown(descriptor, -1, self._gid)
                os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) | GROUP_FOLDER)
            self._enter(descriptor, root, (), only)

    def _count_names(self, folder: int, only: set[str] | None) -> None:
        """Count the names that files with several hard links have in the store."""
        for name in self._list(folder, only):
            with contextlib.suppress(OSError):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    with _opened(name, folder, os.O_DIRECTORY) as inner:
                        self._count_names(inner, None)
                elif stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                    self._names[status.st_dev, status.st_ino] += 1

    @staticmethod
    def _list(folder: int, only: set[str] | None) -> list[str]:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if only is None or entry.name in only)

    def _enter(
        self, folder: int, path: str, below: tuple[str, ...], only: set[str] | None = None
    ) -> None:
        for name in self._list(folder, only):
            here, parts = os.path.join(path, name), (*below, name)  # noqa: PTH118 - may be no UTF-8
            try:
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    continue  # a link, a socket, a pipe
                with _opened(name, folder) as descriptor:
                    self._apply(descriptor, here, private=_is_pool(parts))
                    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                        self._enter(descriptor, here, parts)
            except FileNotFoundError:
                continue  # a running sweep removed it
            except OSError as error:
                self.done.failed[here] = error.strerror or str(error)

    def _apply(self, descriptor: int, path: str, *, private: bool) -> None:
        """Set the group and mode of an open file or folder, if that changes no other one's."""
        status = os.fstat(descriptor)
        if os.geteuid() not in (0, status.st_uid):
            self.done.others[status.st_uid] += 1
            return
        is_folder = stat.S_ISDIR(status.st_mode)
        if not is_folder and status.st_nlink > max(1, self._names[status.st_dev, status.st_ino]):
            self.done.linked.append(path)
            return
        shared = self._gid is not None and not private
        modes = (GROUP_FILE, GROUP_FOLDER) if shared else (PRIVATE_FILE, PRIVATE_FOLDER)
        mode = modes[is_folder]
        group = status.st_gid if self._gid is None or private else self._gid
        if (status.st_gid, stat.S_IMODE(status.st_mode)) != (group, mode):
            os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode)
            self.done.changed += 1


def _is_pool(parts: tuple[str, ...]) -> bool:
    """Check for the files of a submitted sweep: its token and jobs are its user's alone."""
    return len(parts) >= 3 and parts[0] == "sweeps" and parts[2] == "pool"
