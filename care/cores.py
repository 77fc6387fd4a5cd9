"""The cores that this process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Cores of this process's affinity, which on a shared node are fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
