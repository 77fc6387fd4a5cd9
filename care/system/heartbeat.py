"""The beat of a claim: a file that its holder changes while it lives.

A beat moves when its file changes between two looks of one machine, at least a lease apart on that
machine's monotonic clock. Clocks of two machines are never compared. So one look never proves a
death, and each look is noted beside the beat, for the next one, by any process.
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

LEASE_SECONDS = 120.0
BEAT, _SEEN = "beat", "seen"


def is_silent(beat: Path, note: bool) -> bool:
    """Whether a beat was seen to stand still for a lease.

    Args:
        beat: Its file.
        note: Keep this look beside it for the next one.
    """
    now, value = time.monotonic(), _value(beat)
    seen = beat.with_name(f".{_SEEN}-{_clock()}-{beat.name}")
    before = _read_look(seen)
    if before is not None and before[0] == value and now >= before[1]:
        return now - before[1] >= LEASE_SECONDS
    if note:
        _write_look(seen, value, now)
    return False


def move_beat(beat: Path, number: int) -> None:
    """Move a beat.

    Raises:
        FileNotFoundError: Its folder does not exist any more.
    """
    descriptor = os.open(beat, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        os.pwrite(descriptor, f"{number:020d}\n".encode(), 0)
    except OSError:  # a full disk: its time moves all the same
        os.utime(descriptor)
    finally:
        os.close(descriptor)


def _value(beat: Path) -> str:
    """What differs between two looks if the holder lives; a file that is opened is up to date."""
    try:
        with beat.open("rb") as file:
            return f"{file.read(64)!r} {os.fstat(file.fileno()).st_mtime_ns}"
    except FileNotFoundError:
        return ""


@functools.cache
def _clock() -> str:
    """Identity of the monotonic clock that this process reads."""
    try:
        clock = str(Path("/proc/self/ns/time").readlink())
    except OSError:
        clock = ""
    return hashlib.sha256(f"{process.boot_id(process.boot())} {clock}".encode()).hexdigest()[:12]


def _read_look(path: Path) -> tuple[str, float] | None:
    try:
        look: Any = json.loads(path.read_bytes())
        return str(look["value"]), float(look["at"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write_look(path: Path, value: str, at: float) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):  # the claim ended meanwhile, or nothing can be written
        temporary.write_text(json.dumps({"value": value, "at": at}), encoding="utf-8")
        temporary.replace(path)
