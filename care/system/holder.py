"""Describe the process that holds a claim, and check whether it is alive on this machine."""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import string
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from care.system import process
from care.system.files import DamagedFileError, read_json
from care.system.permissions import make_file

# The path is not a regular file, so no holder wrote it.
_NO_FILE = (errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


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
        pid = os.getpid()
        return cls(
            host=socket.gethostname(),
            pid=pid,
            since=time.strftime("%Y-%m-%d %H:%M:%S"),
            boot=process.boot(),
            machine=process.machine(),
            started=process.process_start(pid),
            token=secrets.token_hex(8),
        )

    @property
    def here(self) -> bool:
        """True if the holder's process ID is valid in this process's PID namespace."""
        return self.boot == process.boot() and self.started is not None

    @property
    def runs(self) -> bool:
        """True if a holder that is :attr:`here` exists, even if it is stopped."""
        return process.process_start(self.pid) == self.started

    @property
    def restarted(self) -> bool:
        """True if the holder ran on this machine before its last reboot."""
        this_machine = bool(self.machine) and self.machine == process.machine()
        return this_machine and process.boot_id(self.boot) != process.boot_id(process.boot())

    def write(self, path: Path) -> None:
        """Write the holder to a JSON file."""
        make_file(path, json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, path: Path) -> Holder | None:
        """Read it; None when it is gone, or damaged by a power cut, which it did not survive.

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
