"""Build the optimizer, and load its state on any device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from care.config import OptimizerConfig


def build_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
    """Build Adam or SGD with weight decay as L2 on every parameter, like the authors.

    Source: docs/paper.md §5.
    """
    fused = True if device.type == "cuda" else None  # one kernel for many parameters
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
    """Load a state dict that may come from another device.

    ``fused`` stays as this device requires. A fused step reads parameters and moments in memory
    order, so the moments get the layout of their parameters.
    """
    groups = zip(state["param_groups"], optimizer.param_groups, strict=True)
    settings = [{**saved, "fused": present["fused"]} for saved, present in groups]
    optimizer.load_state_dict({**state, "param_groups": settings})
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(value)
