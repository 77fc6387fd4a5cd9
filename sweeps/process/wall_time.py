"""Where a sweep's wall time went, in parts that add up to it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from care.system.process import process_start

_AT_IMPORT = time.monotonic()


class Watch:
    """Seconds by what they were spent on.

    Attributes:
        seconds: The laps so far.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def lap(self, name: str) -> None:
        """What passed since the last lap was spent on ``name``."""
        now = time.monotonic()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    def move(self, name: str, seconds: float, out_of: str) -> None:
        """``seconds`` of a lap were spent on something else."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.seconds[out_of] -= seconds


class WallTime:
    """The wall time of a sweep, in phases one after another.

    While trials run, each of the ``slots`` that they run in is trained in, evaluated in, or idle:
    the time of all slots, divided by their number, is the time of the phase.

    Args:
        slots: Trials or packs side by side.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._began = _started()
        self._marks: list[tuple[str, float]] = []

    def mark(self, phase: str, at: float | None = None) -> None:
        """A phase has ended, now or at a time of the monotonic clock."""
        self._marks.append((phase, time.monotonic() if at is None else at))

    def parts(self, spent: Mapping[str, float]) -> dict[str, float]:
        """Seconds of wall time by part, in order; their sum is the time until the last mark.

        Args:
            spent: Seconds of the processes of trials, by what for, all together.
        """
        found: dict[str, float] = {}
        since = self._began
        for phase, at in self._marks:
            if phase == "trials":
                each = {name: seconds / self._slots for name, seconds in spent.items()}
                found |= each
                found["idle"] = (at - since) - sum(each.values())
            else:
                found[phase] = at - since
            since = at
        return found


def where_it_went(parts: Mapping[str, float]) -> list[str]:
    """Lines for people, which add up to 100 %."""
    whole = sum(parts.values())
    lines = [
        f"  {name:16s} {seconds:8.1f} s  {100 * seconds / whole:5.1f} %"
        for name, seconds in parts.items()
    ]
    return ["where the time went:", *lines, f"  {'together':16s} {whole:8.1f} s  100.0 %"]


def _started() -> float:
    """When this process started, by the monotonic clock: its imports are part of the wall time."""
    try:
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        ticks = int(process_start(os.getpid()) or "")
    except (OSError, ValueError):
        return _AT_IMPORT
    return time.monotonic() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))
