"""Start ``care`` as a user does, watch the processes it makes, and end them as accidents do."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from care.system.process import all_processes
from tests.helpers import warm

_LONGEST = 600.0  # seconds of a command
CARE = [sys.executable, "-c", "from sweeps.cli.main import main; main()"]


def care(*arguments: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a ``care`` command to its end."""
    words = [str(argument) for argument in arguments]
    if warm.can_fork():
        done = warm.fork(words, cwd, _LONGEST)
    else:
        done = subprocess.run(
            [*CARE, *words], cwd=cwd, capture_output=True, text=True, timeout=_LONGEST
        )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def start_care(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """Start a ``care`` command in a process group of its own; a failed test does not leave it."""
    started = subprocess.Popen(
        [*CARE, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    atexit.register(_end, started)
    return started


def _end(started: subprocess.Popen[str]) -> None:
    if started.poll() is None:
        os.killpg(started.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    """Wait until ``condition`` holds; fail when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def descendants(pid: int) -> set[int]:
    """Every living process below ``pid``."""
    children: dict[int, list[int]] = {}
    for each in all_processes():
        children.setdefault(each.parent, []).append(each.pid)
    found: set[int] = set()
    todo = [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def alive(pids: set[int]) -> set[int]:
    """List those that still run, including zombies."""
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


def command_of(pid: int) -> str:
    """The command line of a process, for messages."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:120]
    except OSError:
        return "gone"


def lines_in(path: Path) -> int:
    """Whole lines of a log."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


__all__ = ["alive", "care", "command_of", "descendants", "lines_in", "start_care", "wait_for"]
