"""Sample and apply the augmentations of one data set, of images or other samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np
from torch import Tensor

from care.augmentation.apply import apply, augment, normalize
from care.augmentation.parameters import AugmentationTable, identity, sample
from care.augmentation.single import named_augmentations
from care.config import AugmentationConfig


class Table(Protocol):
    """Parameters of augmentations, one row each."""

    def __len__(self) -> int:
        """Count the rows."""
        ...

    def rows(self, index: slice) -> Self:
        """Select the rows at ``index``."""
        ...

    def repeat(self, times: int) -> Self:
        """Repeat each row ``times`` times consecutively."""
        ...

    def parameters(self) -> Tensor:
        """Return the rows as numbers, float32 [R,P]."""
        ...

    def describe(self) -> list[str]:
        """Describe each row in a few words."""
        ...


TableT = TypeVar("TableT", bound=Table)


class Augmenter(Protocol[TableT]):
    """Draws tables and applies them; each of R rows is applied to N / R consecutive samples."""

    def identity(self) -> TableT:
        """Return one row that changes nothing."""
        ...

    def sample(self, rows: int, rng: np.random.Generator) -> TableT:
        """Draw ``rows`` augmentations as a function of ``rng``."""
        ...

    def named(self) -> dict[str, TableT]:
        """Return one-row augmentations with a single effect each, by name."""
        ...

    def apply(self, table: TableT, inputs: Tensor) -> Tensor:
        """Augment samples [N,...] and prepare them for a network, float32 [N,...]."""
        ...

    def apply_both(self, first: TableT, second: TableT, inputs: Tensor) -> Tensor:
        """Apply ``first`` and then ``second`` to samples: a'∘a."""
        ...


@dataclass(frozen=True)
class ImageAugmenter:
    """Augmentations of images of one size.

    Attributes:
        config: Distribution of the augmentations.
        size: Height and width of the images in pixels.
        mean: Mean of each channel, in [0, 1], for the normalization.
        std: Standard deviation of each channel, in [0, 1], for the normalization.
    """

    config: AugmentationConfig
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def identity(self) -> AugmentationTable:
        """Return one row that changes nothing."""
        return identity(1, self.size)

    def sample(self, rows: int, rng: np.random.Generator) -> AugmentationTable:
        """Draw ``rows`` augmentations as a function of ``rng``."""
        return sample(self.config, rows, self.size, rng)

    def named(self) -> dict[str, AugmentationTable]:
        """Return augmentations with a single effect; see :mod:`care.augmentation.single`."""
        return named_augmentations(self.size)

    def apply(self, table: AugmentationTable, images: Tensor) -> Tensor:
        """Augment and normalize uint8 [N,3,H,W] to float32; see :func:`care.augmentation.apply`."""
        return apply(table, images, self.mean, self.std)

    def apply_both(
        self, first: AugmentationTable, second: AugmentationTable, images: Tensor
    ) -> Tensor:
        """Augment uint8 [N,3,H,W] twice, without rounding between, and normalize to float32."""
        return normalize(augment(second, augment(first, images)), self.mean, self.std)
