"""The device and the threads that a trial runs on."""

from __future__ import annotations

import os

import torch

from care.errors import ConfigError, Problem

_ALLOWED = "allowed: auto, cpu, cuda, cuda:N, mps, where the machine has it"


def available_cores() -> int:
    """Cores that this process may use, which on a shared node are fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
