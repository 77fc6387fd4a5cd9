"""Augmented views of one step's batch.

Whatever differs from step to step comes from here, as tensors on the device; the rest of a step is
the same computation each time (:mod:`care.training.cuda_graph` relies on it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from care.augmentation import Augmenter, Table
from care.data.shared_batches import Stream
from care.distributed.group import ALONE, Group
from care.models import Embedding, Network
from care.models.network import to_input_layout
from care.system.rng import generator

Make = Callable[["Views"], Tensor]
"""Makes a tensor of the step that these views are at.

It does not hold them: who keeps it would keep a network and all that is on its device, until Python
happens to search for such circles.
"""
Source = Callable[["Views", Hashable, Make], Tensor]
"""Gives the tensor of that name."""


def made_when_asked_for(views: Views, name: Hashable, make: Make) -> Tensor:  # noqa: ARG001
    """The source that keeps nothing."""
    return make(views)


class View:
    """One augmented view of a batch of N samples.

    Args:
        network: Embeds it.
        inputs: See below.
        parameters: Gives the augmentation's parameters.
        permutation: See below.
        group: See below.

    Attributes:
        inputs: What the network takes: normalized float images [n,3,H,W] or points [n,P,4], where
            n is N or this process's share of it.
        permutation: Gives a random order for a purpose, a permutation of 0 … count - 1, int64
            [count] on the device.
        group: The processes that the batch is spread over.
    """

    def __init__(
        self,
        network: Network,
        inputs: Tensor,
        parameters: Callable[[], Tensor],
        permutation: Callable[[str, int], Tensor],
        group: Group = ALONE,
    ) -> None:
        self._network, self._parameters = network, parameters
        self.inputs = inputs
        self.permutation = permutation
        self.group = group

    @cached_property
    def embedding(self) -> Embedding:
        """What the trained network makes of it: one forward pass, when it is first asked for."""
        return self.embed_by(self._network)

    def embed_by(self, network: Network) -> Embedding:
        """What ``network`` makes of the whole batch, N rows."""
        return Embedding(*map(self.group.gather, network.embed(self.inputs)))

    @property
    def parameters(self) -> Tensor:
        """Parameters of each sample's augmentation in the whole batch, float32 [N,P]."""
        return self._parameters()


class Views:
    """Draws the views of a step, once :meth:`at` has said which.

    They are functions of (seed, purpose, epoch, step).

    Args:
        network: Embeds them.
        augmenter: Augments them.
        seed: The trial's seed.
        group: The processes that the batch is spread over.
        stream: Where other trials find what was augmented, and this one what they have.
        source: Where tensors are taken from; without it, they are made when they are asked for.
    """

    def __init__(
        self,
        network: Network,
        augmenter: Augmenter[Any],
        seed: int,
        group: Group = ALONE,
        stream: Stream | None = None,
        source: Source = made_when_asked_for,
    ) -> None:
        self._network, self._augmenter = network, augmenter
        self._seed = seed
        self._group = group
        self._stream = stream or Stream()
        self._source = source

    def at(self, samples: Tensor, epoch: int, step: int) -> Self:
        """Draw the views of this step from now on.

        Args:
            samples: The step's batch as the data set holds it, e.g. uint8 images [N,3,H,W]; of
                several processes this one's share of the rows.
            epoch: Whole epochs done.
            step: Steps done of the epoch that runs.
        """
        self._samples = samples
        self._place = (self._seed, epoch, step)
        return self

    def original(self) -> View:
        """The samples as they are."""
        return self._view("original", lambda views: views._augmenter.identity())

    def augmented(self, purpose: str, rows: int | None = None) -> View:
        """A view under ``rows`` augmentations; None for one of its own for each sample."""
        rows = rows or self._whole()
        return self._view(
            (purpose, rows),
            lambda views: views._augmenter.sample(rows, views._generator(purpose)),
        )

    def _whole(self) -> int:
        """Samples N of the whole batch."""
        return len(self._samples) * self._group.size

    def _generator(self, purpose: str) -> np.random.Generator:
        seed, *place = self._place
        return generator(seed, purpose, *place)

    def _view(self, name: Hashable, draw: Callable[[Views], Table]) -> View:
        def inputs(views: Views) -> Tensor:
            return views._drawn(name, draw)[1]

        def parameters(views: Views) -> Tensor:
            table, _ = views._drawn(name, draw)
            rows = table.repeat(views._whole() // len(table)).parameters()
            return rows.to(views._samples.device, non_blocking=True)

        return View(
            self._network,
            self._source(self, (name, "inputs"), inputs),
            lambda: self._source(self, (name, "parameters"), parameters),
            self._permutation,
            self._group,
        )

    def _drawn(self, name: Hashable, draw: Callable[[Views], Table]) -> tuple[Table, Tensor]:
        """A view's augmentations and what the network takes."""

        def make() -> tuple[Table, Tensor]:
            table = draw(self)
            inputs = self._augmenter.apply(self._share(table), self._samples)
            return table, to_input_layout(inputs)

        return self._stream.get(self._place, name, make)

    def _permutation(self, purpose: str, count: int) -> Tensor:
        def make(views: Views) -> Tensor:
            order = torch.from_numpy(views._generator(purpose).permutation(count))
            return order.to(views._samples.device, non_blocking=True)

        return self._source(self, (purpose, count), make)

    def _share(self, table: Table) -> Table:
        """The rows that serve this process's samples, each as often as it takes to divide them."""
        size = self._group.size
        divisible = table.repeat(size // math.gcd(len(table), size))
        return divisible.rows(self._group.share(len(divisible))) if size > 1 else table
