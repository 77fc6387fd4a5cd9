"""Whether the process that holds a claim lives.

=======================================  ====================================================
the same boot and process namespace      exact: by process number and start time; stopped is alive
the same machine, started again since    dead
anywhere else                            alive while its beat moves
=======================================  ====================================================

A beat moves when its file changes between two looks of one machine, at least a lease apart on that
machine's monotonic clock. Clocks of two machines are never compared. So one look never proves a
death, and a look is noted beside the beat, for the next one, of whatever process.
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

# Another thing than a file of ours is there: no holder wrote it, so none lives by it.
_NO_FILE = (errno.ENOTDIR, errno.ELOOP, errno.ENXIO)

LEASE_SECONDS = 120.0
BEAT, _SEEN = "beat", "seen"


@dataclass(frozen=True)
class Holder:
    """The process that holds a claim.

    Attributes:
        host: Name of its machine.
        pid: Its number there.
        since: When it took the claim, by its own clock.
        boot: Boot and process namespace, within which a number means one process.
        machine: Identity of the machine over restarts; empty when it has none.
        started: When the process started, in ticks of its kernel; None when that is unknown.
        token: Differs from claim to claim; empty in claims of an earlier version.
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
        """This process, from now on."""
        pid, since = os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S")
        start, token = process_start(pid), secrets.token_hex(8)
        return cls(socket.gethostname(), pid, since, boot(), machine(), start, token)

    @property
    def here(self) -> bool:
        """Whether its number means the same process here as there."""
        return self.boot == boot() and self.started is not None

    @property
    def runs(self) -> bool:
        """Whether a process that is :attr:`here` runs, even if it is stopped."""
        return process_start(self.pid) == self.started

    @property
    def restarted(self) -> bool:
        """Whether its machine is this one, and was started again since."""
        same = bool(self.machine) and self.machine == machine()
        return same and _boot_id(self.boot) != _boot_id(boot())

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Holder | None:
        """Read it; None when it is gone, or damaged by a power cut, which it did not survive.

        Raises:
            OSError: The file cannot be read.
        """
        try:
            tree = read_json(path)
            known = {field.name for field in fields(cls)}
            read = cls(**{name: value for name, value in (tree or {}).items() if name in known})
        except DamagedFileError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno not in _NO_FILE:
                raise cause from None  # a disk that is away for a while says nothing of its holder
            return None
        except TypeError:
            return None
        texts = (read.host, read.since, read.boot, read.machine, read.started or "", read.token)
        whole = isinstance(read.pid, int) and all(isinstance(text, str) for text in texts)
        return read if whole and not set(read.token) - set(string.hexdigits) else None


@functools.cache
def boot() -> str:
    """Boot and process namespace: within one of these a number means one process."""
    try:
        identity = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{identity}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux: process_start knows nothing either
        return socket.gethostname()


def _boot_id(boot: str) -> str:
    return boot.partition("/")[0]


@functools.cache
def machine() -> str:
    """Identity of this machine that a restart keeps; empty when it has none.

    Containers and copies of one image may share a machine-id, but not name and network card, too.
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
    """When a process started, in the kernel's ticks; None when there is none (or no /proc)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in ("Z", "X") else rest[18]


def process_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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


def move(beat: Path, number: int) -> None:
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
    return hashlib.sha256(f"{_boot_id(boot())} {clock}".encode()).hexdigest()[:12]


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
