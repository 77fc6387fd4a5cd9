"""kornia's batched augmentation with CARE's distribution, in the environment of the peers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.workload import MEAN, SIDE, STD, Workload, make_images


def pipeline() -> Callable[[Tensor], Tensor]:
    """Make the pipeline from float images in [0, 1] to a view."""
    kornia: Any = importlib.import_module("kornia.augmentation")
    views: Callable[[Tensor], Tensor] = kornia.AugmentationSequential(
        kornia.RandomResizedCrop((SIDE, SIDE)),
        kornia.RandomHorizontalFlip(p=0.5),
        kornia.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        kornia.RandomGrayscale(p=0.2),
        kornia.RandomGaussianBlur((3, 3), (0.1, 2.0), p=0.5),
        kornia.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    )
    return views


class Batches:
    """Random batches of the images, float in [0, 1]."""

    def __init__(self, size: int) -> None:
        self._images = torch.from_numpy(make_images()).permute(0, 3, 1, 2).contiguous()
        self._size = size

    def __call__(self) -> Tensor:
        """Return the next batch."""
        return self._images[torch.randperm(len(self._images))[: self._size]].float() / 255


def build(workload: Workload, cores: int) -> Callable[[], object]:  # noqa: ARG001 - as the others
    """Build one view of a batch for :mod:`benchmarks.side`."""
    views, batch = pipeline(), Batches(workload.batch)
    return lambda: views(batch())
