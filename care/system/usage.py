"""The use of processor, memory and GPU by this process, for the records beside the numbers."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MEGABYTE = 1e6
_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Usage:
    """The use of a machine by one process; None where it is unknown.

    Attributes:
        cpu_percent: CPU time over wall time, in percent of one core.
        memory_megabytes: Resident memory.
        gpu_percent: Use of the process's GPU at the end, by all processes.
        gpu_memory_megabytes: Memory of tensors on it.
        gpu_watts: Its power at the end.
    """

    cpu_percent: float
    memory_megabytes: float | None = None
    gpu_percent: float | None = None
    gpu_memory_megabytes: float | None = None
    gpu_watts: float | None = None


class UsageMeter:
    """Measures the use since it was made, in microseconds on a CPU."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def measure(self) -> Usage:
        """Measure the use since the start."""
        wall = max(time.perf_counter() - self._wall, 1e-9)
        cpu = round(100 * (time.process_time() - self._cpu) / wall, 1)
        if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return Usage(cpu, _resident_megabytes())
        percent = watts = None
        # NVML's package is optional, and some containers hide the device from it.
        with contextlib.suppress(Exception):
            percent = float(torch.cuda.utilization())
        with contextlib.suppress(Exception):
            watts = torch.cuda.power_draw() / 1000
        memory = torch.cuda.memory_allocated() / _MEGABYTE
        return Usage(cpu, _resident_megabytes(), percent, round(memory, 1), watts)


def _resident_megabytes() -> float | None:
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * _PAGE_BYTES / _MEGABYTE, 1)
