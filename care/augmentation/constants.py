"""Small constants on a device."""

from __future__ import annotations

import functools

import torch
from torch import Tensor


@functools.cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """``values`` as float32 [n], sent to the device once. Nobody may change it."""
    return torch.tensor(values).to(device)
