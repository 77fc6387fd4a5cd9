"""Sampling and applying augmentations of one data set, with everything but the numbers fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from care.augmentation.apply import apply
from care.augmentation.table import AugmentationTable, identity, sample
from care.config import AugmentationConfig


@dataclass(frozen=True)
class ImageAugmenter:
    """Augmentations of images of one size.

    Attributes:
        config: Their distribution.
        size: Height and width of the images in pixels.
        mean: Of each channel, in [0, 1], for the normalization.
        std: Likewise, the standard deviation.
    """

    config: AugmentationConfig
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def identity(self) -> AugmentationTable:
        """One row that changes nothing."""
        return identity(1, self.size)

    def sample(self, rows: int, rng: np.random.Generator) -> AugmentationTable:
        """Draw ``rows`` augmentations, a function of ``rng``."""
        return sample(self.config, rows, self.size, rng)

    def apply(self, table: AugmentationTable, images: Tensor) -> Tensor:
        """Augment and normalize uint8 [N,3,H,W] to float32; see :func:`care.augmentation.apply`."""
        return apply(table, images, self.mean, self.std)


def parameters(table: AugmentationTable) -> Tensor:
    """The augmentations as EquiMod's predictor sees them, float32 [R,16].

    Crop (top, left, height, width), flip, order of the jitter's four operations, its four values,
    grey, whether blurred, and the blur's σ. EquiMod's authors add whether colours were jittered at
    all, which here the neutral values say.
    """
    columns = (
        table.crop,
        table.flip[:, None],
        table.order,
        table.jitter,
        table.gray[:, None],
        (table.sigma > 0)[:, None],
        table.sigma[:, None],
    )
    return torch.cat([column.float() for column in columns], dim=1)


PARAMETERS = 16
"""Columns of :func:`parameters`."""
