"""Determine the resources of this job: its share of the node, not the whole node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from care.system.cgroup import memory_limit
from care.system.cores import available_cores

_NO_DEVICES = ("", "NoDevFiles", "-1")


@dataclass(frozen=True)
class Allocation:
    """A worker's share of its node.

    Attributes:
        cpus: Cores.
        gpus: GPUs.
        memory_bytes: Memory; None without a limit.
        devices: Environment variables that limit Ray and torch to these GPUs.
    """

    cpus: int
    gpus: int
    memory_bytes: int | None
    devices: dict[str, str]

    @classmethod
    def of_this_job(cls, environment: Mapping[str, str] = os.environ) -> Allocation:
        """Read the affinity, the control group and the variables of SLURM."""
        cpus = _cpus(environment)
        gpus, devices = _gpus(environment)
        return cls(cpus, gpus, _memory(environment, cpus, gpus), devices)


def _cpus(environment: Mapping[str, str]) -> int:
    """Count the cores of the affinity, or fewer if SLURM does not bind tasks to their cores."""
    granted = environment.get("SLURM_CPUS_PER_TASK") or environment.get("SLURM_CPUS_ON_NODE")
    return min(available_cores(), int(granted)) if granted else available_cores()


def _gpus(environment: Mapping[str, str]) -> tuple[int, dict[str, str]]:
    for name, ours in (
        ("CUDA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
        ("HIP_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),
        ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),  # Ray refuses AMD's other variable
    ):
        devices = environment.get(name)
        if devices is not None and devices not in _NO_DEVICES:
            return len(devices.split(",")), {ours: devices}
    for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):
        if environment.get(name):
            return len(environment[name].split(",")), {}
    count = int(environment.get("SLURM_GPUS_ON_NODE") or 0)
    # Without GPUs of its own, a job must not use those of other jobs on its node.
    return count, {} if count else {"CUDA_VISIBLE_DEVICES": ""}


def _memory(environment: Mapping[str, str], cpus: int, gpus: int) -> int | None:
    for name, times in (
        ("SLURM_MEM_PER_NODE", 1),
        ("SLURM_MEM_PER_CPU", cpus),
        ("SLURM_MEM_PER_GPU", gpus),
    ):
        megabytes = int(environment.get(name) or 0) * times  # 0 stands for all memory of the node
        if megabytes:
            return megabytes * 1024**2
    return memory_limit()
