"""The optimizer of a training, and its state on another device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from care.config import OptimizerConfig


def build_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
    """Adam or SGD, weight decay as L2 on every parameter as the authors do (docs/paper.md §5).

    On a GPU a step is one kernel for many parameters.
    """
    fused = True if device.type == "cuda" else None
    if config.name == "adam":
        return torch.optim.Adam(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=fused
        )
    return torch.optim.SGD(
        parameters,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        fused=fused,
    )


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take over a state dict that may come from another device.

    How the optimizer computes is this device's affair. A fused step goes through parameters and
    moments in the order in which they lie in memory, so the moments get their parameters'.
    """
    groups = zip(state["param_groups"], optimizer.param_groups, strict=True)
    settings = [{**saved, "fused": mine["fused"]} for saved, mine in groups]
    optimizer.load_state_dict({**state, "param_groups": settings})
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                kept[name] = torch.empty_like(parameter).copy_(value)
