"""Determine the resources of this job: its share of the node, not the whole node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

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

    def __str__(self) -> str:
        """Format as ``4 cores, 1 GPU``."""
        cores = f"{self.cpus} core{'s' * (self.cpus != 1)}"
        return f"{cores}, {self.gpus} GPU{'s' * (self.gpus != 1)}" if self.gpus else cores

    @classmethod
    def of_this_job(cls, environment: Mapping[str, str] = os.environ) -> Allocation:
        """Read the affinity, the control group and the variables of SLURM."""
        cpus = _cpus(environment)
        gpus, devices = _gpus(environment)
        return cls(cpus, gpus, _memory(environment, cpus, gpus), devices)

    @classmethod
    def of_this_machine(cls, gpus: int) -> Allocation:
        """Take all that this process may use outside of SLURM.

        Args:
            gpus: GPUs that torch sees.
        """
        found, devices = _gpus(os.environ)
        # Ray numbers visible GPUs by itself.
        named = {name: value for name, value in devices.items() if value}
        return cls(available_cores(), min(gpus, found) if named else gpus, memory_limit(), named)

    def part(self, cpus: int, gpus: int) -> Allocation:
        """Return the first of its cores and GPUs."""
        devices = {name: ",".join(value.split(",")[:gpus]) for name, value in self.devices.items()}
        # Without GPUs of its own, a worker must not use those of others on its node.
        return replace(
            self, cpus=cpus, gpus=gpus, devices=devices if gpus else {"CUDA_VISIBLE_DEVICES": ""}
        )


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
