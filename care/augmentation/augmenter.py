"""Sampling and applying the augmentations of one data set, whatever its samples are."""

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
    """Parameters of augmentations, a row each."""

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def rows(self, index: slice) -> Self:
        """The table of the rows at ``index``."""
        ...

    def repeat(self, times: int) -> Self:
        """The table with each row ``times`` times, one after the other."""
        ...

    def parameters(self) -> Tensor:
        """The rows as numbers, float32 [R,P]."""
        ...

    def describe(self) -> list[str]:
        """What each row does, in a few words for people."""
        ...


TableT = TypeVar("TableT", bound=Table)


class Augmenter(Protocol[TableT]):
    """Draws tables and applies them; with R rows and N samples a row serves N / R of them."""

    def identity(self) -> TableT:
        """One row that changes nothing."""
        ...

    def sample(self, rows: int, rng: np.random.Generator) -> TableT:
        """Draw ``rows`` augmentations, a function of ``rng``."""
        ...

    def named(self) -> dict[str, TableT]:
        """Augmentations of one row that change one thing each, by name."""
        ...

    def apply(self, table: TableT, inputs: Tensor) -> Tensor:
        """Samples [N,...] as a network takes them, float32 [N,...]."""
        ...

    def apply_both(self, first: TableT, second: TableT, inputs: Tensor) -> Tensor:
        """The same under ``first`` and then ``second``: a'∘a."""
        ...


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

    def named(self) -> dict[str, AugmentationTable]:
        """See :func:`care.augmentation.single.named_augmentations`."""
        return named_augmentations(self.size)

    def apply(self, table: AugmentationTable, images: Tensor) -> Tensor:
        """Augment and normalize uint8 [N,3,H,W] to float32; see :func:`care.augmentation.apply`."""
        return apply(table, images, self.mean, self.std)

    def apply_both(
        self, first: AugmentationTable, second: AugmentationTable, images: Tensor
    ) -> Tensor:
        """Augment uint8 [N,3,H,W] twice, without rounding between, and normalize to float32."""
        return normalize(augment(second, augment(first, images)), self.mean, self.std)
