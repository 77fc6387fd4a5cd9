"""Read from /proc which processes run and since when, and identify the boot and the machine."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessStat:
    """A process as described by ``/proc/PID/stat``.

    Attributes:
        pid: Process ID.
        state: One letter: ``R`` running, ``T`` stopped, ``Z`` dead and not yet reaped.
        parent: Process ID of the parent.
        session: Process ID of the session's leader.
        start: Start time in kernel ticks since the boot.
    """

    pid: int
    state: str
    parent: int
    session: int
    start: str

    @classmethod
    def read(cls, pid: int) -> Self | None:
        """Read the entry of a process; None without the process or /proc."""
        try:
            text = (_PROC / str(pid) / "stat").read_text()
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()  # a process's name may contain spaces
        return cls(pid, fields[0], int(fields[1]), int(fields[3]), fields[19])

    @property
    def dead(self) -> bool:
        """True if only the entry is left, until the parent reaps it."""
        return self.state in ("Z", "X")


def all_processes() -> Iterator[ProcessStat]:
    """Yield every process in /proc, including dead ones."""
    for folder in _PROC.glob("[0-9]*"):
        stat = ProcessStat.read(int(folder.name))
        if stat:
            yield stat


def process_start(pid: int) -> str | None:
    """Return the start time of a process in kernel ticks; None if it is dead or unknown."""
    stat = ProcessStat.read(pid)
    return None if stat is None or stat.dead else stat.start


def process_alive(pid: int) -> bool:
    """Check whether a process of this machine exists, even if dead and not yet reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@functools.cache
def boot() -> str:
    """Identify boot and PID namespace, within which a process ID is unique."""
    try:
        identity = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{identity}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux: process_start returns None there
        return socket.gethostname()


def boot_id(boot: str) -> str:
    """Extract the boot from a value of :func:`boot`, of this or another machine."""
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
