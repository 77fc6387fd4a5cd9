"""Optimiser and learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from care.config import OptimizerConfig


def build_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
    """Adam or SGD, weight decay as L2 on every parameter as the authors do (CARE.md section 5).

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


def learning_rate(config: OptimizerConfig, step: int, steps_per_epoch: int, epochs: int) -> float:
    """The learning rate of a step: a function of the step alone, so a resume needs no state.

    A linear warm-up reaches ``config.learning_rate`` at its last step; ``cosine`` then falls to 0
    at the end of the training.

    Args:
        config: Peak rate, schedule, length of the warm-up in epochs.
        step: Global step from 0.
        steps_per_epoch: Steps of an epoch.
        epochs: Epochs of the training.
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - warmup) / max(1, epochs * steps_per_epoch - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
