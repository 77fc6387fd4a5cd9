"""Estimate the cost of a training in floating-point operations from its configuration."""

from __future__ import annotations

from care.config import TrialConfig
from care.registry import ENCODERS, MONITORED


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


def monitor_share(config: TrialConfig) -> float | None:
    """Estimate the passes of ``evaluation.monitor`` over those of the training.

    Augmentation, losses and fits are left out on both sides.

    Returns:
        The share; None if only the files show the number of samples.
    """
    train_size, test_size = config.data.train_size, config.data.test_size
    if train_size is None or test_size is None:
        return None
    evaluation, monitor = config.evaluation, config.evaluation.monitor
    entries = [MONITORED[name] for name in monitor.measures]
    passes = 0
    if any(not entry.parts for entry in entries):
        views = max(2, evaluation.monitor_augmentations) + 3
        passes += views * min(evaluation.monitor_images, test_size)
    if monitor.uses_parts:
        passes += min(monitor.test_part, test_size)
    if any(entry.parts and entry.classes for entry in entries):
        passes += min(monitor.train_part, train_size)
    batch = config.training.batch_size
    trained, forward = config.objective.passes
    epoch = (train_size // batch) * batch * (3 * trained + forward)
    return passes / (epoch * monitor.every)
