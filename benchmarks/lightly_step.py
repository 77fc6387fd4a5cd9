"""A SimCLR step with lightly's transform and loss, in the environment of the peers.

Its transform has CARE's distribution (docs/paper.md §4), but for the blur, whose kernel is
PIL's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.authors import StepLoader
from benchmarks.loss_check import check_infonce
from benchmarks.networks import PlainNetwork
from benchmarks.workload import (
    LEARNING_RATE,
    MEAN,
    SIDE,
    STD,
    TEMPERATURE,
    WEIGHT_DECAY,
    Workload,
    make_images,
)


class _Views(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self) -> None:
        transforms: Any = importlib.import_module("lightly.transforms")
        self._images = make_images()
        self._transform = transforms.SimCLRTransform(
            input_size=SIDE,
            cj_bright=0.4,
            cj_contrast=0.4,
            cj_sat=0.4,
            cj_hue=0.1,
            normalize={"mean": list(MEAN), "std": list(STD)},
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        first, second = self._transform(Image.fromarray(self._images[index]))
        return first, second


def build(workload: Workload, cores: int) -> Callable[[], object]:
    """Build the step for :mod:`benchmarks.side`."""
    criterion: Any = importlib.import_module("lightly.loss").NTXentLoss(TEMPERATURE)
    check_infonce(criterion)
    network = PlainNetwork(workload.encoder).train()
    loader = StepLoader(_Views(), workload.batch, cores)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def step() -> None:
        first, second = loader()
        loss = criterion(network(first), network(second))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
