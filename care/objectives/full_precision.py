"""Compute losses in float32 or better, also after a network in bfloat16."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

from care.system.precision import widen

_P = ParamSpec("_P")


def full_precision(loss: Callable[_P, Tensor]) -> Callable[_P, Tensor]:
    """Turn autocast off inside ``loss`` and widen the half-precision tensors given to it."""

    @functools.wraps(loss)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> Tensor:
        given = (*args, *kwargs.values())
        device = next(value.device.type for value in given if isinstance(value, Tensor))
        widened = {name: _widen(value) for name, value in kwargs.items()}
        with torch.autocast(device, enabled=False):
            return loss(*map(_widen, args), **widened)

    return wrapper


def _widen(value: Any) -> Any:
    return widen(value) if isinstance(value, Tensor) else value
