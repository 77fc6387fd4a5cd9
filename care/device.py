"""The device that a trial runs on."""

from __future__ import annotations

import torch

from care.errors import ConfigError, Problem

_ALLOWED = "allowed: auto, cpu, cuda, cuda:N, mps, where the machine has it"


def resolve_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is the first accelerator, else the CPU.

    Raises:
        ConfigError: No such device here.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        problem = Problem("runtime.device", name, _ALLOWED)
        raise ConfigError("device", [problem]) from error
    return device
