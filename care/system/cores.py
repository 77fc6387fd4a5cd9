"""The cores that this process may use."""

from __future__ import annotations

import os

from care.system.cgroup import cpu_limit


def available_cores() -> int:
    """Count the cores that CPU affinity and control groups' quota allow to this process.

    A quota of 1.5 cores counts as one: two threads would wait for each other a quarter of the time.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = cpu_limit()
    cores = affinity or 1
    return cores if limit is None else max(1, min(cores, int(limit)))
