"""The numbers that a network computes in: float32, or bfloat16 where the hardware is fast at it.

Weights, BatchNorm's statistics, losses, optimizer and everything that is measured of features stay
float32 (autocast); bfloat16 has float32's range, so nothing is scaled.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from care.config import Precision, PrecisionChoice
from care.errors import ConfigError, Problem


def resolve_precision(field: str, choice: PrecisionChoice, device: torch.device) -> Precision:
    """What ``choice`` means on ``device``; ``auto`` is bfloat16 where that is quick.

    Args:
        field: Its dotted name, for the message.
        choice: As configured.
        device: Where the network is.

    Raises:
        ConfigError: bfloat16 was asked for, and the device would only imitate it.
    """
    fast = has_fast_bf16(device)
    if choice == "bf16" and not fast:
        allowed = f"allowed: auto or fp32, as this {device.type} has no units for bfloat16"
        raise ConfigError("precision", [Problem(field, choice, allowed)])
    if choice == "auto":
        return "bf16" if fast else "fp32"
    return choice


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 faster than float32.

    A CPU needs AVX512_BF16 or AMX; with AVX2 alone a step takes seven times as long as in float32.
    An Nvidia GPU needs to be Ampere or later.
    """
    if device.type == "cpu":
        has = torch.cpu.get_capabilities()
        return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return False


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Compute in ``precision`` while entered, whatever was set outside."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def widen(values: Tensor) -> Tensor:
    """Half-precision ``values`` as float32, others as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def exact_float32() -> None:
    """Let float32 be float32 on GPUs: by default cuDNN rounds convolutions' inputs to TF32.

    cuDNN's operations are named, because what is set for all does not reach them in every torch.
    """
    backends: Any = torch.backends
    for what in (backends, backends.cudnn.conv, backends.cudnn.rnn):
        what.fp32_precision = "ieee"
