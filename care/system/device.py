"""The device that a trial runs on."""

from __future__ import annotations

import torch

from care.config import TrialConfig
from care.distributed.group import ALONE, Group
from care.errors import ConfigError, Problem
from care.system.precision import resolve_precision

_ALLOWED = "allowed: auto, cpu, cuda, cuda:N, mps, where the machine has it"
_ALLOWED_TOGETHER = "allowed: auto, cpu or cuda where several processes train together"


def resolve_device(name: str, group: Group = ALONE) -> torch.device:
    """The device called ``name``; ``auto`` is the first accelerator, else the CPU.

    Each of several processes has a GPU of its own, by its rank, unless they train on the CPU.

    Raises:
        ConfigError: No such device here, none that processes can train on together, or fewer GPUs
            than processes.
    """
    device = _resolve(name)
    if group.size == 1 or device.type == "cpu":
        return device
    if device.type != "cuda" or name not in ("auto", "cuda"):
        raise ConfigError("device", [Problem("runtime.device", name, _ALLOWED_TOGETHER)])
    gpus = torch.cuda.device_count()
    if group.size > gpus:
        allowed = f"allowed: at most {gpus}, the number of GPUs that are visible here"
        raise ConfigError("device", [Problem("runtime.processes", group.size, allowed)])
    return torch.device("cuda", group.rank)


def check_machine(config: TrialConfig) -> None:
    """Refuse a trial that asks for what this machine has not.

    Raises:
        ConfigError: Device or precision.
    """
    device = resolve_device(config.runtime.device, Group(0, config.runtime.processes))
    resolve_precision("training.precision", config.training.precision, device)
    resolve_precision("evaluation.precision", config.evaluation.precision, device)


def _resolve(name: str) -> torch.device:
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        problem = Problem("runtime.device", name, _ALLOWED)
        raise ConfigError("device", [problem]) from error
    return device
