"""Estimate the cost of a training in floating-point operations from its configuration."""

from __future__ import annotations

from care.config import TrialConfig
from care.registry import ENCODERS


def training_flops(config: TrialConfig, train_size: int, side: int) -> float:
    """Estimate the encoder's floating-point operations over a training; a multiply-add is two.

    A backward pass counts as two forward passes. Heads, losses and augmentations are left out.

    Args:
        config: The trial.
        train_size: Number of training samples.
        side: Height and width of the images in pixels; for point clouds the number of points.
    """
    batch = config.training.batch_size
    samples = config.training.epochs * (train_size // batch) * batch
    trained, forward = config.objective.passes
    each = ENCODERS[config.model.encoder].flops_at(side)
    return each * samples * (3 * trained + forward)
