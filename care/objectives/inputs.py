"""The input tensors of a training step: an objective declares them, the trainer makes them.

All that differs from step to step is among them. The rest of a step is the same computation each
time, which :mod:`care.training.cuda_graph` relies on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from care.augmentation import Augmenter, Table
from care.data.shared_batches import Batch
from care.distributed.group import ALONE, Group
from care.models.network import to_input_layout
from care.system.rng import generator

Inputs = dict[str, Tensor]
"""Tensors on the training device, by the names of their specifications."""


class InputSpec(Hashable, Protocol):
    """Describes one input; hashable, and equal for equal tensors of a step."""

    @property
    def name(self) -> str:
        """Its key in :data:`Inputs`."""
        ...

    def make(self, batch: Batch, augmenter: Augmenter[Any], group: Group) -> Tensor:
        """Make the tensor of one step.

        Args:
            batch: The step's batch: N samples, of which this process holds n.
            augmenter: Augments them.
            group: The processes that the batch is spread over.
        """
        ...


@dataclass(frozen=True)
class ViewSpec:
    """A view of the batch: every sample under an augmentation.

    Attributes:
        name: Its key, and the purpose of its random numbers.
        rows: Augmentations to draw. Each serves N / rows consecutive samples; None draws one for
            each sample.
        augmented: False for the samples as they are.
    """

    name: str
    rows: int | None = None
    augmented: bool = True

    def make(self, batch: Batch, augmenter: Augmenter[Any], group: Group) -> Tensor:
        """Augment this process's samples: float images [n,3,H,W] or points [n,P,4]."""
        table = _share(self.table(batch, augmenter, group), group)
        return to_input_layout(augmenter.apply(table, batch.samples))

    def table(self, batch: Batch, augmenter: Augmenter[Any], group: Group) -> Table:
        """Draw the augmentations of the whole batch, once a step."""
        if self not in batch.tables:
            rows = self.rows or _whole(batch, group)
            batch.tables[self] = (
                augmenter.sample(rows, _generator(batch, self.name))
                if self.augmented
                else augmenter.identity()
            )
        table: Table = batch.tables[self]
        return table


@dataclass(frozen=True)
class ParametersSpec:
    """The parameters of a view's augmentations.

    Attributes:
        view: The view.
    """

    view: ViewSpec

    @property
    def name(self) -> str:
        """Its key."""
        return f"{self.view.name}/parameters"

    def make(self, batch: Batch, augmenter: Augmenter[Any], group: Group) -> Tensor:
        """Return a row for each sample of the whole batch, float32 [N,P]."""
        table = self.view.table(batch, augmenter, group)
        rows = table.repeat(_whole(batch, group) // len(table)).parameters()
        return rows.to(batch.samples.device, non_blocking=True)


@dataclass(frozen=True)
class PermutationSpec:
    """A random order of the whole batch.

    Attributes:
        name: Its key, and the purpose of its random numbers.
    """

    name: str

    def make(self, batch: Batch, augmenter: Augmenter[Any], group: Group) -> Tensor:
        """Permute 0 … N - 1, int64 [N]."""
        order = torch.from_numpy(_generator(batch, self.name).permutation(_whole(batch, group)))
        return order.to(batch.samples.device, non_blocking=True)


def make_inputs(
    specs: Iterable[InputSpec], batch: Batch, augmenter: Augmenter[Any], group: Group = ALONE
) -> Inputs:
    """Make a step's inputs, but for those that another trial of the pack has made.

    Args:
        specs: What the objective declares.
        batch: The step's batch, shared by a pack. Nobody may change its tensors.
        augmenter: Augments the samples.
        group: The processes that the batch is spread over.
    """
    started = time.perf_counter()
    inputs: Inputs = {}
    for spec in specs:
        if spec not in batch.inputs:
            batch.inputs[spec] = spec.make(batch, augmenter, group)
        inputs[spec.name] = batch.inputs[spec]
    batch.seconds += time.perf_counter() - started
    return inputs


def _whole(batch: Batch, group: Group) -> int:
    """Count the samples N of the whole batch."""
    return len(batch.samples) * group.size


def _generator(batch: Batch, purpose: str) -> np.random.Generator:
    return generator(batch.seed, purpose, batch.epoch, batch.step)


def _share(table: Table, group: Group) -> Table:
    """Select the rows that serve this process's samples, repeated until they divide evenly."""
    if group.size == 1:
        return table
    divisible = table.repeat(group.size // math.gcd(len(table), group.size))
    return divisible.rows(group.share(len(divisible)))
