"""Hash the content of files once and store the hashes beside the data.

A stored hash is valid while the file keeps its size, modification time and change time. No program
can set a change time, so a replaced file of equal size and modification time is detected. A copied
or touched file is read a second time, with an equal hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from care.system.cores import available_cores
from care.system.files import DiskError, write_atomic

UNREADABLE = "unreadable"
"""Hash of a file that cannot be read, e.g. of a dangling link."""

_log = logging.getLogger(__name__)

_BYTES = 16
_FORMAT = 1
_LARGE = 10**9
# Kernels stamp files with a clock that ticks every 1 to 10 ms.
_TICK_SECONDS = 0.02


class Stamp(NamedTuple):
    """Size in bytes and times in ns of a file, which differ after every change."""

    size: int
    modified: int
    changed: int


_Known = dict[str, tuple[Stamp, str]]
_memory: dict[Path, _Known] = {}


class HashedFiles:
    """Files below one folder, with hashes stored in one file.

    Args:
        folder: Folder of the files.
        record: The file that stores the hashes.
    """

    def __init__(self, folder: Path, record: Path) -> None:
        self.folder, self._record = folder, record
        self._prefix = f"{folder}/"

    def hashes(self, names: Sequence[str]) -> list[str]:
        """Hash the content of each file; reads only changed files, and writes nothing.

        Args:
            names: Paths relative to the folder.

        Returns:
            32 hexadecimal digits for each name, or :data:`UNREADABLE`.
        """
        # Before the files are read: a change during the read gives the file another stamp.
        stamps = {name: self.stamp(name) for name in names}
        known = self._known()
        changed = {
            name: stamp
            for name, stamp in stamps.items()
            if stamp and (name not in known or known[name][0] != stamp)
        }
        if changed:
            known = {name: entry for name, entry in known.items() if name not in changed}
            known |= self._read(changed)
            _memory[self._record] = known
        return [known[name][1] if stamps[name] and name in known else UNREADABLE for name in names]

    def remember(self, names: Sequence[str]) -> None:
        """Store the hashes of these files beside the data, if that folder is writable."""
        self.hashes(names)
        known = self._known()
        files = {name: (*known[name][0], known[name][1]) for name in names if name in known}
        content = json.dumps({"format": _FORMAT, "files": files}).encode()
        # Read-only data are hashed in each process.
        with contextlib.suppress(OSError, DiskError):
            if not self._record.exists() or self._record.read_bytes() != content:
                self._record.parent.mkdir(exist_ok=True)
                write_atomic(self._record, content)

    def stamp(self, name: str) -> Stamp | None:
        """Return size and times of a regular file, else None."""
        try:
            status = os.stat(f"{self._prefix}{name}")  # noqa: PTH116 - fast for 100,000 files
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None  # a read from a pipe could block for ever
        return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def _known(self) -> _Known:
        if self._record not in _memory:
            _memory[self._record] = _load(self._record)
        return _memory[self._record]

    def _read(self, changed: dict[str, Stamp]) -> _Known:
        total = sum(stamp.size for stamp in changed.values())
        if total > _LARGE:
            size = f"{len(changed)} files, {total / 1e9:.1f} GB"
            _log.info("reading %s: %s, new or changed since the last read", self.folder, size)
        newest = max(max(stamp.modified, stamp.changed) for stamp in changed.values())
        if time.time_ns() - newest < _TICK_SECONDS * 1e9:
            # A change within this tick would not change the stamp.
            time.sleep(_TICK_SECONDS)
        with ThreadPoolExecutor(available_cores()) as pool:
            hashes = pool.map(self._hash, changed)
            return {
                name: (stamp, value)
                for (name, stamp), value in zip(changed.items(), hashes, strict=True)
                if value
            }

    def _hash(self, name: str) -> str | None:
        try:
            with (self.folder / name).open("rb") as file:
                return hashlib.file_digest(file, _new_hash).hexdigest()
        except OSError:
            return None


def combine(lines: Sequence[str]) -> str:
    """Hash lines, in their order, to 32 hexadecimal digits."""
    text = "".join([f"{len(line)}\n{line}" for line in lines])
    return _new_hash(text.encode(errors="surrogateescape")).hexdigest()


def _new_hash(content: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(content, digest_size=_BYTES)


def _load(record: Path) -> _Known:
    """Read the stored hashes; empty if the file is missing, damaged or of another format."""
    try:
        tree = json.loads(record.read_bytes())  # keys may be file names that are no UTF-8
        if tree.get("format") != _FORMAT:
            return {}
        return {name: (Stamp(*entry[:3]), str(entry[3])) for name, entry in tree["files"].items()}
    except (OSError, ValueError, AttributeError, LookupError, TypeError):
        return {}
