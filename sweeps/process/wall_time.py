"""The wall time of a sweep, split into parts that add up to it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from care.system.process import process_start

_AT_IMPORT = time.monotonic()


class Stopwatch:
    """Seconds of a process by activity.

    Attributes:
        seconds: Seconds so far, by activity.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def lap(self, name: str) -> None:
        """Add the time since the last lap to activity ``name``."""
        now = time.monotonic()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    def move(self, name: str, seconds: float, out_of: str) -> None:
        """Move ``seconds`` of a finished lap from activity ``out_of`` to ``name``."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.seconds[out_of] -= seconds


class WallTime:
    """The wall time of a sweep in consecutive phases.

    In the phase of the trials, each slot trains, evaluates or idles. The time of all slots divided
    by their number is the time of the phase.

    Args:
        slots: Number of trials or packs that run side by side.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._started_at = _process_started_at()
        self._marks: list[tuple[str, float]] = []

    def mark(self, phase: str, at: float | None = None) -> None:
        """End a phase now, or at a time of the monotonic clock."""
        self._marks.append((phase, time.monotonic() if at is None else at))

    def parts(self, spent: Mapping[str, float]) -> dict[str, float]:
        """Split the wall time until the last mark into seconds by part, in order.

        Args:
            spent: Seconds by activity, summed over the trials' processes.
        """
        parts: dict[str, float] = {}
        since = self._started_at
        for phase, at in self._marks:
            if phase == "trials":
                each = {name: seconds / self._slots for name, seconds in spent.items()}
                parts |= each
                parts["idle"] = (at - since) - sum(each.values())
            else:
                parts[phase] = at - since
            since = at
        return parts


def format_wall_time(parts: Mapping[str, float]) -> list[str]:
    """Format the parts of the wall time as lines that add up to 100 %."""
    total = sum(parts.values())
    lines = [
        f"  {name:16s} {seconds:8.1f} s  {100 * seconds / total:5.1f} %"
        for name, seconds in parts.items()
    ]
    return ["where the time went:", *lines, f"  {'together':16s} {total:8.1f} s  100.0 %"]


def _process_started_at() -> float:
    """Return the start of this process on the monotonic clock: imports are wall time, too."""
    try:
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        ticks = int(process_start(os.getpid()) or "")
    except (OSError, ValueError):
        return _AT_IMPORT
    return time.monotonic() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))
