"""Augmented views of one step's batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from care.augmentation import Augmenter, Table
from care.models import Embedding, Network
from care.randomness import generator


class View:
    """One augmented view of a batch.

    Attributes:
        inputs: What the network takes: normalized float images [N,3,H,W] or points [N,P,4].
        table: Their augmentations, R rows; each serves N / R consecutive samples.
        generator: Gives random numbers of this step for a purpose.
    """

    def __init__(
        self,
        network: Network,
        inputs: Tensor,
        table: Table,
        generator: Callable[[str], np.random.Generator],
    ) -> None:
        self._network = network
        self.inputs = inputs
        self.table = table
        self.generator = generator

    @cached_property
    def embedding(self) -> Embedding:
        """What the trained network makes of it: one forward pass, when it is first asked for."""
        return self._network.embed(self.inputs)


class Views:
    """Draws the views of one step: functions of (seed, purpose, epoch, step).

    Args:
        network: Embeds them.
        augmenter: Augments them.
        samples: The step's batch as the data set holds it, e.g. uint8 images [N,3,H,W].
        seed: The trial's seed.
        epoch: Whole epochs done.
        step: Steps done of the epoch that runs.
    """

    def __init__(
        self,
        network: Network,
        augmenter: Augmenter[Any],
        samples: Tensor,
        seed: int,
        epoch: int,
        step: int,
    ) -> None:
        self._network, self._augmenter, self._samples = network, augmenter, samples
        self._place = (seed, epoch, step)

    def original(self) -> View:
        """The samples as they are."""
        return self._view(self._augmenter.identity())

    def augmented(self, purpose: str, rows: int | None = None) -> View:
        """A view under ``rows`` augmentations; None for one of its own for each sample."""
        rows = rows or len(self._samples)
        return self._view(self._augmenter.sample(rows, self._generator(purpose)))

    def _generator(self, purpose: str) -> np.random.Generator:
        seed, *place = self._place
        return generator(seed, purpose, *place)

    def _view(self, table: Table) -> View:
        inputs = self._augmenter.apply(table, self._samples)
        return View(self._network, inputs, table, self._generator)
