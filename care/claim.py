"""Claims: who may write a trial's folder.

A claim is a numbered file, ``claim-000001``; the highest number counts. It is taken by linking a
complete file to the next number, which exactly one process can do, on a shared folder too. So a
dead holder's claim is never deleted to be taken over, and no two processes can both believe that
they took it. A holder that released its claim says so by the file's name.

A holder on this machine is alive if its process is (exact, no waiting). One on another machine is
alive while it touches its claim, which it does every few seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from care.files import DiskError

_NAME = re.compile(r"claim-(\d{6})(\.released)?")
_BEAT_SECONDS = 15.0
_RETRY_SECONDS = 2.0
LEASE_SECONDS = 120.0


def _boot() -> str:
    """Machine, boot and process namespace: within one of these a pid means one process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()}/{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _process_start(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None when there is none (or no /proc)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def process_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass(frozen=True)
class Holder:
    """Who holds a claim: host, process, and since when."""

    host: str
    pid: int
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


def _numbers(folder: Path) -> list[tuple[int, Path, bool]]:
    """(number, path, released) of the claims in ``folder``, highest last."""
    found = []
    for path in folder.glob("claim-*"):
        match = _NAME.fullmatch(path.name)
        if match:
            found.append((int(match[1]), path, match[2] is not None))
    return sorted(found)


def _alive(path: Path) -> Holder | None:
    """The holder of the claim at ``path`` if it lives."""
    try:
        record = json.loads(path.read_text())
        beat = path.stat().st_mtime
    except FileNotFoundError:  # released or superseded since it was listed
        return None
    except ValueError:  # empty after a power cut, which its holder did not survive either
        return None
    holder = Holder(record["host"], record["pid"], record["since"])
    if record["boot"] == _boot() and record["started"] is not None:
        return holder if _process_start(holder.pid) == record["started"] else None
    return holder if time.time() - beat < LEASE_SECONDS else None


def holder(folder: Path) -> Holder | None:
    """Who holds the claim on ``folder`` now, or None when it is free."""
    claims = _numbers(folder)
    if not claims or claims[-1][2]:
        return None
    return _alive(claims[-1][1])


def release_dead(folder: Path) -> bool:
    """Free ``folder`` if a process of this machine held it and is dead.

    Others could tell only by its silence, after a while.

    Returns:
        Whether no process of this machine holds it.
    """
    claims = _numbers(folder)
    if not claims or claims[-1][2]:
        return True
    path = claims[-1][1]
    try:
        record = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return True
    if record["boot"] != _boot():
        return True
    if record["started"] is None or _process_start(record["pid"]) == record["started"]:
        return False
    _mark_released(path)
    return True


def _mark_released(path: Path) -> None:
    # The folder may have been moved to the archive, and the claim with it.
    with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_name(f"{path.name}.released"))


class Claim:
    """A claim that this process holds, until :meth:`release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._released = threading.Event()
        threading.Thread(target=self._beat, name="claim-heartbeat", daemon=True).start()

    @classmethod
    def take(cls, folder: Path) -> Self | None:
        """Claim ``folder`` (made if missing), or None when somebody else holds it.

        Raises:
            DiskError: No space, or the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return cls._take(folder)
        except OSError as error:
            raise DiskError(folder, error) from error

    @classmethod
    def _take(cls, folder: Path) -> Self | None:
        while True:
            claims = _numbers(folder)
            number, latest, released = claims[-1] if claims else (0, folder, True)
            if not released and _alive(latest):
                return None
            path = folder / f"claim-{number + 1:06d}"
            if not _link(path) or _numbers(folder)[-1][1] != path:
                # Somebody was faster. That may show after the link only: a number is free again
                # once its holder released it, and a number that was superseded is worth nothing.
                continue
            for _, old, _ in claims:
                old.unlink(missing_ok=True)
            return cls(path)

    def release(self) -> None:
        """Give the claim up, at once or as soon as the folder can be written again."""
        if not self._released.is_set():
            try:
                _mark_released(self._path)
            except OSError:
                threading.Thread(
                    target=self._release_later, name="claim-release", daemon=True
                ).start()
            self._released.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _release_later(self) -> None:
        while True:
            time.sleep(_RETRY_SECONDS)
            with contextlib.suppress(OSError):
                _mark_released(self._path)
                return

    def _beat(self) -> None:
        while not self._released.wait(_BEAT_SECONDS):
            try:
                os.utime(self._path)
            except OSError:  # a folder that is away for a while must not end the training
                continue


def _link(path: Path) -> bool:
    """Make the claim at ``path`` appear whole; False when it exists."""
    pid = os.getpid()
    record: dict[str, Any] = {
        "host": socket.gethostname(),
        "boot": _boot(),
        "pid": pid,
        "started": _process_start(pid),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{pid}.{threading.get_ident()}")
    try:
        temporary.write_text(json.dumps(record))
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True
