"""Write and observe heartbeats: files that the holders of claims rewrite while they are alive.

A heartbeat stands still if one machine has read it twice, unchanged, at least a lease apart on that
machine's monotonic clock; clocks of two machines are never compared. One observation never proves a
death. So each is stored beside the heartbeat, for the next observation by any process.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from care.system import process
from care.system.permissions import make_file, open_file

LEASE_SECONDS = 120.0
BEAT, _SEEN = "beat", "seen"


def is_silent(beat: Path, record: bool) -> bool:
    """Check whether this machine has seen a heartbeat unchanged for a lease.

    Args:
        beat: File of the heartbeat.
        record: Store this observation beside the file for the next one.
    """
    now, value = time.monotonic(), _value(beat)
    path = beat.with_name(f".{_SEEN}-{_clock()}-{beat.name}")
    earlier = _read_observation(path)
    if earlier is not None and earlier[0] == value and now >= earlier[1]:
        return now - earlier[1] >= LEASE_SECONDS
    if record:
        _write_observation(path, value, now)
    return False


def write_beat(beat: Path, number: int) -> None:
    """Write the next heartbeat.

    Args:
        beat: File of the heartbeat.
        number: Count of the heartbeats so far.

    Raises:
        FileNotFoundError: The folder is missing: the claim was taken over.
    """
    descriptor = open_file(beat, os.O_WRONLY | os.O_CREAT)
    try:
        os.pwrite(descriptor, f"{number:020d}\n".encode(), 0)
    except OSError:  # the disk is full, but its time of change still moves
        os.utime(descriptor)
    finally:
        os.close(descriptor)


def _value(beat: Path) -> str:
    """Return a value that differs between two observations of a living holder."""
    try:
        with beat.open("rb") as file:  # a network file system updates its cache on open
            return f"{file.read(64)!r} {os.fstat(file.fileno()).st_mtime_ns}"
    except FileNotFoundError:
        return ""


@functools.cache
def _clock() -> str:
    """Identify the monotonic clock of this process."""
    try:
        clock = str(Path("/proc/self/ns/time").readlink())
    except OSError:
        clock = ""
    return hashlib.sha256(f"{process.boot_id(process.boot())} {clock}".encode()).hexdigest()[:12]


def _read_observation(path: Path) -> tuple[str, float] | None:
    try:
        observation: Any = json.loads(path.read_bytes())
        return str(observation["value"]), float(observation["at"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write_observation(path: Path, value: str, at: float) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):  # the claim has ended, or the folder cannot be written
        make_file(temporary, json.dumps({"value": value, "at": at}).encode())
        temporary.replace(path)
