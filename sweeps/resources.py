"""How a machine is shared out among a sweep's trials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from care.errors import ConfigError, Problem
from care.system.cores import available_cores
from sweeps.spec.schema import ResourcesConfig


@dataclass(frozen=True)
class Resources:
    """A machine's cores and GPUs, and a trial's part of them.

    Attributes:
        cores: Cores that trials may use, all together.
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
        """Trials side by side."""
        fit = self.cores // self.threads
        return min(fit, int(self.machine_gpus / self.gpus)) if self.gpus else fit

    @property
    def largest_share(self) -> int:
        """Factor on a trial's part at which it shares its GPU, or the cores, with no other."""
        if self.gpus:
            return math.ceil(1 / self.gpus)
        return self.cores // self.threads

    def request(self, task: dict[str, Any]) -> dict[str, float]:
        """What Ray is asked for: the task's ``share`` times a trial's part."""
        gpus = min(1.0, task["share"] * self.gpus) if self.gpus < 1 else self.gpus
        return {"cpu": min(self.cores, task["share"] * self.threads), "gpu": gpus}


def share_out(config: ResourcesConfig, trials: int) -> Resources:
    """Give each trial an equal part, so that trials × threads = cores.

    The split depends on the size of the whole sweep, not on what of it is missing: a trial's last
    bits depend on its thread count, and an interrupted sweep must go on with the same one.

    Args:
        config: What the sweep asks for.
        trials: Trials of the whole sweep.

    Raises:
        ConfigError: The machine has too few cores or GPUs for one trial.
    """
    machine_gpus = _count_gpus() if config.gpus else 0
    return part_of(config, available_cores(), machine_gpus, "this machine", trials)


def part_of(
    config: ResourcesConfig, cores: int, machine_gpus: int, machine: str, trials: int | None = None
) -> Resources:
    """Give each trial an equal part of a machine.

    Args:
        config: What the sweep asks for.
        cores: Of the machine.
        machine_gpus: Likewise.
        machine: What it is called in messages.
        trials: Trials of the whole sweep; None where they are not all on this machine.

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


def _check(field: str, asked: float, available: int, what: str) -> None:
    if asked > available:
        allowed = f"allowed: at most {available}, the {what}"
        raise ConfigError("sweep", [Problem(field, asked, allowed)])


def _count_gpus() -> int:
    import torch

    return torch.accelerator.device_count()
