"""The process that holds a claim, as the claim's file names it."""

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

# Something else than a file of ours is there: no holder wrote it.
_NO_FILE = (errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


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
        """Return this process, as the holder of a claim from now on."""
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
        """Whether its number means the same process here as there."""
        return self.boot == process.boot() and self.started is not None

    @property
    def runs(self) -> bool:
        """Whether a process that is :attr:`here` runs, even if it is stopped."""
        return process.process_start(self.pid) == self.started

    @property
    def restarted(self) -> bool:
        """Whether its machine is this one, and was started again since."""
        same = bool(self.machine) and self.machine == process.machine()
        return same and process.boot_id(self.boot) != process.boot_id(process.boot())

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
