"""Augmented views of one step's batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from torch import Tensor

from care.augmentation import AugmentationTable, ImageAugmenter
from care.models import Embedding, Network
from care.randomness import generator


class View:
    """One augmented view of a batch.

    Attributes:
        images: Normalized float images [N,3,H,W].
        table: Their augmentations, R rows; each serves N / R consecutive images.
        generator: Gives random numbers of this step for a purpose.
    """

    def __init__(
        self,
        network: Network,
        images: Tensor,
        table: AugmentationTable,
        generator: Callable[[str], np.random.Generator],
    ) -> None:
        self._network = network
        self.images = images
        self.table = table
        self.generator = generator

    @cached_property
    def embedding(self) -> Embedding:
        """What the trained network makes of it: one forward pass, when it is first asked for."""
        return self._network.embed(self.images)


class Views:
    """Draws the views of one step: functions of (seed, purpose, epoch, step).

    Args:
        network: Embeds them.
        augmenter: Augments them.
        images: The step's batch, uint8 [N,3,H,W].
        seed: The trial's seed.
        epoch: Whole epochs done.
        step: Steps done of the epoch that runs.
    """

    def __init__(
        self,
        network: Network,
        augmenter: ImageAugmenter,
        images: Tensor,
        seed: int,
        epoch: int,
        step: int,
    ) -> None:
        self._network, self._augmenter, self._images = network, augmenter, images
        self._place = (seed, epoch, step)

    def __len__(self) -> int:
        return len(self._images)

    def original(self) -> View:
        """The images as they are, normalized only."""
        return self._view(self._augmenter.identity())

    def augmented(self, purpose: str, rows: int | None = None) -> View:
        """A view under ``rows`` augmentations; None for one of its own for each image."""
        table = self._augmenter.sample(rows or len(self._images), self.generator(purpose))
        return self._view(table)

    def generator(self, purpose: str) -> np.random.Generator:
        """Random numbers of this step for ``purpose``."""
        seed, *place = self._place
        return generator(seed, purpose, *place)

    def _view(self, table: AugmentationTable) -> View:
        images = self._augmenter.apply(table, self._images)
        return View(self._network, images, table, self.generator)
