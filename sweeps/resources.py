"""The split of a machine's cores and GPUs between a sweep's trials."""

from __future__ import annotations

import math
from dataclasses import dataclass

from care.errors import ConfigError, Problem
from care.system.cores import available_cores
from sweeps.spec.schema import ResourcesConfig


@dataclass(frozen=True)
class Resources:
    """A machine's cores and GPUs, and the share of one trial.

    Attributes:
        cores: Cores for all trials together.
        threads: Threads of one trial.
        gpus: GPUs of one trial.
        machine_gpus: GPUs of the machine.
    """

    cores: int
    threads: int
    gpus: float
    machine_gpus: int

    @property
    def concurrency(self) -> int:
        """Number of trials that run side by side."""
        fit = self.cores // self.threads
        return min(fit, int(self.machine_gpus / self.gpus)) if self.gpus else fit

    @property
    def largest_share(self) -> int:
        """Number of shares at which a trial has a GPU, or all cores, for itself."""
        if self.gpus:
            return math.ceil(1 / self.gpus)
        return self.cores // self.threads

    def request(self, share: int) -> tuple[int, float]:
        """Return the cores and GPUs to request from Ray: ``share`` times those of one trial."""
        gpus = min(1.0, share * self.gpus) if self.gpus < 1 else self.gpus
        return min(self.cores, share * self.threads), gpus


def split_this_machine(config: ResourcesConfig, trials: int) -> Resources:
    """Split this machine equally, so that trials × threads = cores.

    The split depends on the number of all trials, not of the missing ones. A trial's last bits
    depend on its thread count, so an interrupted sweep must resume with an equal split.

    Args:
        config: The sweep's resources.
        trials: Number of trials of the whole sweep.

    Raises:
        ConfigError: The machine has too few cores or GPUs for one trial.
    """
    machine_gpus = count_gpus() if config.gpus else 0
    return split_machine(config, available_cores(), machine_gpus, "this machine", trials)


def split_machine(
    config: ResourcesConfig, cores: int, machine_gpus: int, machine: str, trials: int | None = None
) -> Resources:
    """Split a machine equally between trials.

    Args:
        config: The sweep's resources.
        cores: Cores of the machine.
        machine_gpus: GPUs of the machine.
        machine: The machine's name in messages.
        trials: Number of trials of the whole sweep; None if other machines take some of them.

    Raises:
        ConfigError: The machine has too few cores or GPUs for one trial.
    """
    side_by_side = cores if trials is None else min(cores, max(1, trials))
    if config.gpus:
        _check("resources.gpus", config.gpus, machine_gpus, f"GPUs of {machine}")
        side_by_side = min(side_by_side, max(1, int(machine_gpus / config.gpus)))
    threads = max(1, cores // side_by_side) if config.threads == "auto" else config.threads
    _check("resources.threads", threads, cores, f"cores of {machine}")
    return Resources(cores, threads, config.gpus, machine_gpus)


def _check(field: str, requested: float, available: int, what: str) -> None:
    if requested > available:
        allowed = f"allowed: at most {available}, the {what}"
        raise ConfigError("sweep", [Problem(field, requested, allowed)])


def count_gpus() -> int:
    """Count the GPUs that torch sees."""
    import torch

    return torch.accelerator.device_count()
