"""Hashes of files' content, remembered beside the data so that they are computed once.

A remembered hash counts as long as the file has the size, the modification time and the change time
that it had when it was read. No program can set a change time, so a file that was exchanged for
another of equal size and modification time is noticed. A file that was copied or touched is read
again, and keeps its hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from care.system.cores import available_cores
from care.system.files import DiskError, write_atomic

UNREADABLE = "unreadable"
"""Stands for the hash of a file that cannot be read, e.g. of a link to nothing."""

_BYTES = 16
_FORMAT = 1
_LARGE = 10**9
# Kernels stamp files with a clock that ticks every 1 to 10 ms.
_TICK_SECONDS = 0.02


class Stamp(NamedTuple):
    """What changes whenever a file does: its size in bytes and its times in ns."""

    size: int
    modified: int
    changed: int


_Known = dict[str, tuple[Stamp, str]]
_memory: dict[Path, _Known] = {}


class HashedFiles:
    """Files below one folder, whose hashes are remembered in one file.

    Args:
        folder: Where the files lie.
        record: The file that remembers their hashes.
        say: Called with a line before more than a gigabyte is read.
    """

    def __init__(
        self, folder: Path, record: Path, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.folder, self._record, self._say = folder, record, say
        self._prefix = f"{folder}/"

    def hashes(self, names: Sequence[str]) -> list[str]:
        """Hash the content of each file; reads only what changed since, and writes nothing.

        Args:
            names: Relative to the folder.

        Returns:
            32 hexadecimal digits for each name, or :data:`UNREADABLE`.
        """
        # Stamps are taken before the files are read: a later change shows as another stamp.
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
        """Write the hashes of these files beside the data, where that is possible."""
        self.hashes(names)
        known = self._known()
        files = {name: (*known[name][0], known[name][1]) for name in names if name in known}
        content = json.dumps({"format": _FORMAT, "files": files}).encode()
        # Data that may only be read are hashed in each process.
        with contextlib.suppress(OSError, DiskError):
            if not self._record.exists() or self._record.read_bytes() != content:
                self._record.parent.mkdir(exist_ok=True)
                write_atomic(self._record, content)

    def stamp(self, name: str) -> Stamp | None:
        """Size and times of a regular file, or None where there is none."""
        try:
            status = os.stat(f"{self._prefix}{name}")  # noqa: PTH116 - of 100,000 files
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None  # reading a pipe would wait for ever
        return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def _known(self) -> _Known:
        if self._record not in _memory:
            _memory[self._record] = _load(self._record)
        return _memory[self._record]

    def _read(self, changed: dict[str, Stamp]) -> _Known:
        total = sum(stamp.size for stamp in changed.values())
        if total > _LARGE:
            size = f"{len(changed)} files, {total / 1e9:.1f} GB"
            self._say(f"reading {self.folder}: {size}, new or changed since they were read last")
        newest = max(max(stamp.modified, stamp.changed) for stamp in changed.values())
        if time.time_ns() - newest < _TICK_SECONDS * 1e9:
            # A change within the same tick would leave the stamp as it is.
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


def combined(lines: Sequence[str]) -> str:
    """32 hexadecimal digits that stand for ``lines``, in their order."""
    text = "".join([f"{len(line)}\n{line}" for line in lines])
    return _new_hash(text.encode(errors="surrogateescape")).hexdigest()


def _new_hash(content: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(content, digest_size=_BYTES)


def _load(record: Path) -> _Known:
    """What the file remembers; nothing where it is missing, damaged or of another format."""
    try:
        tree = json.loads(record.read_bytes())  # names that are no UTF-8 are keys here
        if tree.get("format") != _FORMAT:
            return {}
        return {name: (Stamp(*entry[:3]), str(entry[3])) for name, entry in tree["files"].items()}
    except (OSError, ValueError, AttributeError, LookupError, TypeError):
        return {}
