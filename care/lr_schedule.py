"""Compute the learning rate of each step."""

from __future__ import annotations

import math

from care.config import OptimizerConfig


def learning_rate(config: OptimizerConfig, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Compute the learning rate as a function of the step, so that resuming needs no state.

    A linear warm-up reaches ``config.learning_rate`` at its last step. Then ``cosine`` decays to 0
    at the end of the training.

    Args:
        config: Peak rate, schedule, and warm-up in epochs.
        step: Global step, from 0.
        steps_per_epoch: Number of steps per epoch.
        epochs: Number of epochs of the training.
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - warmup) / max(1, epochs * steps_per_epoch - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
