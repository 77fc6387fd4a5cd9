"""The settings and the data of a timed training step, for both sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 32
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
TEMPERATURE, WEIGHT, SPLITS = 0.5, 0.01, 16
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-6
EPOCHS = 400
HIDDEN, OUTPUT = 512, 128
# More steps than are ever timed: at the end of an epoch, held-out images would be measured.
_IMAGES = 16_384


@dataclass(frozen=True)
class Workload:
    """One training step at the settings for CIFAR-10 (docs/paper.md §5).

    Attributes:
        encoder: A name of care.registry.
        batch: Number of images of a step.
        steps: Number of steps that are timed as one, if a single one is too short.
        equivariance: Whether to train CARE, with L_equi; otherwise SimCLR.
        shared_views: Whether InfoNCE takes the views of L_equi's chunks.
        device: ``cpu`` or ``cuda``.
    """

    encoder: str
    batch: int = 256
    steps: int = 1
    equivariance: bool = True
    shared_views: bool = False
    device: str = "cpu"


def make_images() -> NDArray[np.uint8]:
    """Make random images in the shape of CIFAR-10's, uint8 [N,32,32,3]."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (_IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
