"""Choose a network's precision: float32, or bfloat16 on hardware with units for it.

Autocast keeps weights, BatchNorm statistics, losses, optimizer and evaluation in float32. bfloat16
has the range of float32, so losses are not scaled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor

from care.config import Precision, PrecisionChoice
from care.errors import ConfigError, Problem


def resolve_precision(field: str, choice: PrecisionChoice, device: torch.device) -> Precision:
    """Resolve a configured precision on a device; ``auto`` is bfloat16 where that is fast.

    Args:
        field: Dotted name of the field, for the message.
        choice: Value of the field.
        device: Device of the network.

    Raises:
        ConfigError: ``bf16`` on a device that only emulates it.
    """
    fast = has_fast_bf16(device)
    if choice == "bf16" and not fast:
        allowed = f"allowed: auto or fp32, as this {device.type} has no units for bfloat16"
        raise ConfigError("precision", [Problem(field, choice, allowed)])
    if choice == "auto":
        return "bf16" if fast else "fp32"
    return choice


def has_fast_bf16(device: torch.device) -> bool:
    """Check whether a device multiplies bfloat16 faster than float32.

    A CPU needs AVX512_BF16 or AMX; with AVX2 alone a step takes seven times as long as in float32.
    An Nvidia GPU must be Ampere or later.
    """
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return False


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Compute in ``precision`` inside the context, regardless of an outer autocast."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def widen(values: Tensor) -> Tensor:
    """Convert float16 and bfloat16 to float32; return other values unchanged."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def exact_float32() -> None:
    """Disable TF32 on GPUs, to which cuDNN rounds the inputs of float32 convolutions by default.

    In some versions of torch the global setting does not reach cuDNN's operations, so each is set.
    """
    for backend in _float32_backends():
        backend.fp32_precision = "ieee"


@contextmanager
def in_exact_float32() -> Iterator[None]:
    """Disable TF32 inside the context; see :func:`exact_float32`."""
    before = [(backend, backend.fp32_precision) for backend in _float32_backends()]
    exact_float32()
    try:
        yield
    finally:
        for backend, precision in before:
            backend.fp32_precision = precision


def _float32_backends() -> tuple[Any, ...]:
    backends: Any = torch.backends
    return backends, backends.cudnn.conv, backends.cudnn.rnn
