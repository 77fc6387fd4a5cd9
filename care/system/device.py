"""Resolve the device on which a trial runs."""

from __future__ import annotations

import torch

from care.config import TrialConfig
from care.distributed.group import ALONE, Group
from care.errors import ConfigError, Problem
from care.system.precision import resolve_precision

_ALLOWED = "allowed: auto, cpu, cuda, cuda:N, mps, where the machine has it"
_ALLOWED_TOGETHER = "allowed: auto, cpu or cuda where several processes train together"


def resolve_device(name: str, group: Group = ALONE) -> torch.device:
    """Return the device for a name; ``auto`` is the first accelerator, else the CPU.

    On GPUs each of several processes gets its own, by rank.

    Raises:
        ConfigError: The device is missing, does not support several processes, or there are fewer
            GPUs than processes.
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
    """Check that this machine has the device and the precision of a trial.

    Raises:
        ConfigError: The device is missing, or does not support the precision.
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
