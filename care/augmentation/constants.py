"""Cache small constants on a device."""

from __future__ import annotations

import functools

import torch
from torch import Tensor


@functools.cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return values as float32 [n], copied to the device once; the tensor is shared, read-only."""
    return torch.tensor(values).to(device)
