"""``care logs``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from care.errors import CareError
from care.system.claim import holder
from care.system.files import read_tail
from care.trials.folder import TrialFolder
from care.trials.log import LOG, decode
from care.trials.state import State
from sweeps.backends.slurm.state_files import PoolFolder
from sweeps.inventory import ReferenceFolder, find_target
from sweeps.process.terminal import make_console
from sweeps.store import Store, SweepFolder

_POLL_SECONDS = 0.5
_OVERLAP = 4096
_LARGEST_SHOWN = 2**24


def logs_command(name: str, root: Path, lines: int | None, follow: bool) -> int:
    """Print the log of a trial, or that of a sweep's driver.

    Args:
        name: First digits of a trial's identity, or name of a sweep.
        root: Folder of the store.
        lines: Number of last lines to print first; None for all.
        follow: Whether to print new lines until the trial or the driver ends.

    Returns:
        0; 1 if a followed trial failed.

    Raises:
        CareError: There is no such trial or sweep, or it has no log.
    """
    store = Store(root)
    target = find_target(name, store)
    if isinstance(target, SweepFolder):
        log, path = _driver_log(store, target), target.path
        _print_log(log, lines, follow, lambda: holder(path) is None)
        return 0
    if isinstance(target, ReferenceFolder):
        raise CareError(f"{target.path}: a reference was not trained and has no log")
    folder = target
    if not (folder.path / LOG).exists() and not (follow and holder(folder.path)):
        return _explain_missing(folder)
    _print_log(folder.path / LOG, lines, follow, lambda: _ended(folder))
    status = folder.read_status() if follow else None
    return 1 if status and status.state == State.FAILED else 0


def _driver_log(store: Store, sweep: SweepFolder) -> Path:
    """Return the log of a sweep's last driver: on a cluster that of its head."""
    pool = PoolFolder(store, sweep.name)
    places = [sweep.path / "ray.log"] if pool.foreign else [pool.log, sweep.path / "ray.log"]
    logs = [path for path in places if path.exists()]
    if not logs:
        raise CareError(
            f"{sweep.path}: its driver wrote no log, as it never started Ray. "
            f"Its trials: care list {sweep.name}"
        )
    return max(logs, key=lambda path: path.stat().st_mtime)


def _ended(folder: TrialFolder) -> bool:
    status = folder.read_status()
    over = status is not None and status.state in (State.FINISHED, State.FAILED)
    return over and holder(folder.path) is None


def _explain_missing(folder: TrialFolder) -> int:
    """Show what is known of a trial without a log, e.g. of an earlier version."""
    status = folder.read_status()
    console = make_console(stderr=True)
    if status is None:
        console.print(f"{folder.path}: no process has written a line yet")
    else:
        console.print(f"{folder.path}: no {LOG}; an earlier version of care trained it")
    if status and status.error:
        error = status.error
        print(f"{error.kind}: {error.message}\n{error.traceback}".rstrip())
    return 0


def _print_log(path: Path, lines: int | None, follow: bool, ended: Callable[[], bool]) -> None:
    tail = Tail(path)
    first = tail.read().splitlines(keepends=True)
    _print("".join(first if lines is None else first[max(0, len(first) - lines) :]))
    while follow:
        over = ended()  # before the read: what comes between the two is printed below
        _print(tail.read())
        if over:
            return
        time.sleep(_POLL_SECONDS)


def _print(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


class Tail:
    """The lines that were appended to a log since the last read.

    A process that starts replaces the log by a copy, and a log that grows too large by a shorter
    one. So after a change of the file, the lines that were read last are searched in the new one.

    Args:
        path: The log, which may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = self._offset = 0
        self._last = b""

    def read(self) -> str:
        """Return the complete new lines.

        Raises:
            CareError: The log cannot be read.
        """
        try:
            # Opening a file of a shared folder asks the server for its present size.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise CareError(f"{self._path}: cannot be read ({error.strerror})") from error
        status = os.fstat(descriptor)
        os.close(descriptor)
        same = status.st_ino == self._inode and status.st_size >= self._offset
        if same and status.st_size == self._offset:
            return ""
        new = self._after_offset() if same else self._after_last()
        new = new[: new.rfind(b"\n") + 1]
        self._inode, self._offset = status.st_ino, self._offset + len(new)
        self._last = (self._last + new)[-_OVERLAP:]
        return decode(new)

    def _after_offset(self) -> bytes:
        size, content = read_tail(self._path, _LARGEST_SHOWN) or (0, b"")
        return content[max(0, len(content) - (size - self._offset)) :]

    def _after_last(self) -> bytes:
        """Return what follows the last lines in a new file, or all of it."""
        size, content = read_tail(self._path, _LARGEST_SHOWN) or (0, b"")
        known = content.rfind(self._last) if self._last else -1
        start = known + len(self._last) if known >= 0 else 0
        self._offset = size - len(content) + start
        return content[start:]
