"""Augmented views of one step's batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from care.augmentation import Augmenter, Table
from care.distributed.group import ALONE, Group
from care.models import Embedding, Network
from care.models.network import as_network_takes
from care.randomness import generator
from care.stream import Stream


class View:
    """One augmented view of a batch of N samples.

    Attributes:
        inputs: What the network takes: normalized float images [n,3,H,W] or points [n,P,4], where
            n is N or this process's share of it.
        table: The whole batch's augmentations, R rows; each serves N / R consecutive samples.
        generator: Gives random numbers of this step for a purpose.
        group: The processes that the batch is spread over.
    """

    def __init__(
        self,
        network: Network,
        inputs: Tensor,
        table: Table,
        generator: Callable[[str], np.random.Generator],
        group: Group = ALONE,
    ) -> None:
        self._network = network
        self.inputs = inputs
        self.table = table
        self.generator = generator
        self.group = group

    @cached_property
    def embedding(self) -> Embedding:
        """What the trained network makes of it: one forward pass, when it is first asked for."""
        return self.embed_by(self._network)

    def embed_by(self, network: Network) -> Embedding:
        """What ``network`` makes of the whole batch, N rows."""
        return Embedding(*map(self.group.gather, network.embed(self.inputs)))


class Views:
    """Draws the views of one step: functions of (seed, purpose, epoch, step).

    Args:
        network: Embeds them.
        augmenter: Augments them.
        samples: The step's batch as the data set holds it, e.g. uint8 images [N,3,H,W]; of several
            processes this one's share of the rows.
        seed: The trial's seed.
        epoch: Whole epochs done.
        step: Steps done of the epoch that runs.
        group: The processes that the batch is spread over.
        stream: Where other trials find what was augmented, and this one what they have.
    """

    def __init__(
        self,
        network: Network,
        augmenter: Augmenter[Any],
        samples: Tensor,
        seed: int,
        epoch: int,
        step: int,
        group: Group = ALONE,
        stream: Stream | None = None,
    ) -> None:
        self._network, self._augmenter, self._samples = network, augmenter, samples
        self._place = (seed, epoch, step)
        self._group = group
        self._stream = stream or Stream()

    def original(self) -> View:
        """The samples as they are."""
        return self._view("original", self._augmenter.identity)

    def augmented(self, purpose: str, rows: int | None = None) -> View:
        """A view under ``rows`` augmentations; None for one of its own for each sample."""
        rows = rows or len(self._samples) * self._group.size
        return self._view(
            (purpose, rows), lambda: self._augmenter.sample(rows, self._generator(purpose))
        )

    def _generator(self, purpose: str) -> np.random.Generator:
        seed, *place = self._place
        return generator(seed, purpose, *place)

    def _view(self, name: Hashable, draw: Callable[[], Table]) -> View:
        def make() -> tuple[Table, Tensor]:
            table = draw()
            inputs = self._augmenter.apply(self._share(table), self._samples)
            return table, as_network_takes(inputs)

        table, inputs = self._stream.get(self._place, name, make)
        return View(self._network, inputs, table, self._generator, self._group)

    def _share(self, table: Table) -> Table:
        """The rows that serve this process's samples, each as often as it takes to divide them."""
        size = self._group.size
        divisible = table.repeat(size // math.gcd(len(table), size))
        return divisible.rows(self._group.share(len(divisible))) if size > 1 else table
