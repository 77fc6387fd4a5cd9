"""Processes: which ones run, when they started, and on which boot of which machine."""

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
    """A process as ``/proc/PID/stat`` describes it.

    Attributes:
        pid: Its number.
        state: One letter: ``R`` runs, ``T`` is stopped, ``Z`` is dead and not yet reaped.
        parent: Number of the process that started it.
        session: Number of the process that leads its session.
        start: When it started, in ticks of the kernel since the boot.
    """

    pid: int
    state: str
    parent: int
    session: int
    start: str

    @classmethod
    def read(cls, pid: int) -> Self | None:
        """Read the entry of a process; None when there is none, or no /proc."""
        try:
            text = (_PROC / str(pid) / "stat").read_text()
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()  # a process's name may contain spaces
        return cls(pid, fields[0], int(fields[1]), int(fields[3]), fields[19])

    @property
    def dead(self) -> bool:
        """Whether only its entry is left, until its parent reaps it."""
        return self.state in ("Z", "X")


def all_processes() -> Iterator[ProcessStat]:
    """Yield every process of this machine that /proc shows, dead ones as well."""
    for folder in _PROC.glob("[0-9]*"):
        stat = ProcessStat.read(int(folder.name))
        if stat:
            yield stat


def process_start(pid: int) -> str | None:
    """Return when a process started, in ticks of the kernel; None when it is dead or unknown."""
    stat = ProcessStat.read(pid)
    return None if stat is None or stat.dead else stat.start


def process_alive(pid: int) -> bool:
    """Whether a process of this machine exists; a dead one that is not yet reaped does."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@functools.cache
def boot() -> str:
    """Return boot and process namespace, within which a number means one process."""
    try:
        identity = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{identity}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux: process_start knows nothing either
        return socket.gethostname()


def boot_id(boot: str) -> str:
    """Return the boot alone, of what :func:`boot` returned here or on another machine."""
    return boot.partition("/")[0]


@functools.cache
def machine() -> str:
    """Return the identity of this machine, which a restart keeps; empty when it has none.

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
