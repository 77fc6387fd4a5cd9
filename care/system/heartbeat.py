"""Decide whether the process that holds a claim is alive.

=====================================  ==========================================================
holder in this boot and PID namespace  exact, by PID and start time; a stopped process is alive
holder on this machine, before reboot  dead
holder elsewhere                       alive while its heartbeat changes
=====================================  ==========================================================

A heartbeat is a file that the holder rewrites. It stands still if one machine has read it twice,
unchanged, at least a lease apart on that machine's monotonic clock; clocks of two machines are
never compared. One observation never proves a death. So each is stored beside the heartbeat, for
the next observation by any process of the machine.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import secrets
import socket
import string
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from care.system.files import DamagedFileError, read_json

# The path is not a regular file, so no holder wrote it.
_NO_FILE = (errno.ENOTDIR, errno.ELOOP, errno.ENXIO)

LEASE_SECONDS = 120.0
BEAT, _SEEN = "beat", "seen"


@dataclass(frozen=True)
class Holder:
    """The process that holds a claim.

    Attributes:
        host: Name of its machine.
        pid: Process ID on that machine.
        since: Local time at which it took the claim.
        boot: Boot and PID namespace, within which a process ID is unique.
        machine: Identity of the machine across reboots; empty if it has none.
        started: Start time of the process in kernel ticks; None if unknown.
        token: Unique token of the claim; empty in claims of an earlier version.
    """

    host: str
    pid: int
    since: str
    boot: str = ""
    machine: str = ""
    started: str | None = None
    token: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"

    @classmethod
    def this_process(cls) -> Holder:
        """Describe this process as a holder from now on."""
        pid, since = os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S")
        start, token = process_start(pid), secrets.token_hex(8)
        return cls(socket.gethostname(), pid, since, boot(), machine(), start, token)

    @property
    def here(self) -> bool:
        """True if the holder's process ID is valid in this process's PID namespace."""
        return self.boot == boot() and self.started is not None

    @property
    def runs(self) -> bool:
        """True if a holder that is :attr:`here` exists, even if it is stopped."""
        return process_start(self.pid) == self.started

    @property
    def restarted(self) -> bool:
        """True if the holder ran on this machine before its last reboot."""
        this_machine = bool(self.machine) and self.machine == machine()
        return this_machine and _boot_id(self.boot) != _boot_id(boot())

    def write(self, path: Path) -> None:
        """Write the holder to a JSON file."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Holder | None:
        """Read a holder's file; None if it is missing, or damaged by a power cut that killed it.

        Raises:
            OSError: The file cannot be read.
        """
        try:
            tree = read_json(path)
            known = {field.name for field in fields(cls)}
            holder = cls(**{name: value for name, value in (tree or {}).items() if name in known})
        except DamagedFileError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno not in _NO_FILE:
                raise cause from None  # an unreachable disk proves nothing about the holder
            return None
        except TypeError:
            return None
        texts = (holder.host, holder.since, holder.boot, holder.machine, holder.started or "")
        valid = all(isinstance(text, str) for text in (*texts, holder.token))
        valid = valid and isinstance(holder.pid, int)
        return holder if valid and not set(holder.token) - set(string.hexdigits) else None


@functools.cache
def boot() -> str:
    """Identify boot and PID namespace, within which a process ID is unique."""
    try:
        identity = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{identity}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux: process_start returns None there
        return socket.gethostname()


def _boot_id(boot: str) -> str:
    return boot.partition("/")[0]


@functools.cache
def machine() -> str:
    """Identify this machine across reboots; empty if it has no identity.

    Copies of one image may share a machine-id, but not also the name and the network card.
    """
    try:
        identity = Path("/etc/machine-id").read_text().strip()
        cards = [
            path.read_text().strip()
            for path in Path("/sys/class/net").glob("*/address")
            if (path.parent / "device").exists()
        ]
    except OSError:
        return ""
    return f"{identity}/{socket.gethostname()}/{min(cards)}" if identity and cards else ""


def process_start(pid: int) -> str | None:
    """Return the start time of a process in kernel ticks; None without the process or /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in ("Z", "X") else rest[18]


def process_alive(pid: int) -> bool:
    """Check whether a process of this machine exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_silent(beat: Path, note: bool) -> bool:
    """Check whether this machine has seen a heartbeat unchanged for a lease.

    Args:
        beat: File of the heartbeat.
        note: Store this observation beside the file for the next one.
    """
    now, value = time.monotonic(), _value(beat)
    path = beat.with_name(f".{_SEEN}-{_clock()}-{beat.name}")
    earlier = _read_observation(path)
    if earlier is not None and earlier[0] == value and now >= earlier[1]:
        return now - earlier[1] >= LEASE_SECONDS
    if note:
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
    descriptor = os.open(beat, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
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
    return hashlib.sha256(f"{_boot_id(boot())} {clock}".encode()).hexdigest()[:12]


def _read_observation(path: Path) -> tuple[str, float] | None:
    try:
        observation: Any = json.loads(path.read_bytes())
        return str(observation["value"]), float(observation["at"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write_observation(path: Path, value: str, at: float) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):  # the claim has ended, or the folder cannot be written
        temporary.write_text(json.dumps({"value": value, "at": at}), encoding="utf-8")
        temporary.replace(path)
