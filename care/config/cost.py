"""What a training costs, from its configuration alone."""

from __future__ import annotations

from typing import NamedTuple

from care.config import MocoConfig, NoBaseConfig, ObjectiveConfig, SimclrConfig, TrialConfig
from care.config.objective import ByolConfig, EquimodConfig
from care.registry import ENCODER_FLOPS


class Passes(NamedTuple):
    """Passes of a batch through the encoder in one step.

    Attributes:
        trained: Forward and backward.
        forward: Forward only, through a momentum encoder.
    """

    trained: int
    forward: int


def passes(objective: ObjectiveConfig) -> Passes:
    """How often a step takes the batch through the encoder: CARE 4, SimCLR 2."""
    chunks = 2 if objective.equivariance.weight > 0 else 0
    views, forward = 2, 0
    if isinstance(objective, SimclrConfig):
        views = objective.views
    elif isinstance(objective, MocoConfig):
        views, forward = 1, 1
    elif isinstance(objective, ByolConfig):
        forward = 2
    elif isinstance(objective, NoBaseConfig):
        views = 0
    shared = chunks > 0 and objective.equivariance.shared_views
    equimod: EquimodConfig = getattr(objective, "equimod", EquimodConfig())
    originals = 1 if equimod.weight > 0 else 0
    return Passes((chunks if shared else views + chunks) + originals, forward)


def training_flops(config: TrialConfig, train_size: int, side: int) -> float:
    """Floating-point operations of the encoder over the whole training; a multiply-add is two.

    A backward pass counts as two forward passes. Heads, losses and augmentations are left out.

    Args:
        config: The trial.
        train_size: Number of its training samples.
        side: Height and width of its images in pixels; for point clouds the number of points.
    """
    reference, flops = ENCODER_FLOPS[config.model.encoder]
    scale = side / reference if config.model.encoder == "deep_sets" else (side / reference) ** 2
    batch = config.training.batch_size
    samples = config.training.epochs * (train_size // batch) * batch
    trained, forward = passes(config.objective)
    return flops * scale * samples * (3 * trained + forward)
