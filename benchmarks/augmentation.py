"""Batched augmentation against torchvision, an image at a time."""

from __future__ import annotations

import torch

from benchmarks.measure import Line, compare
from care.augmentation import apply, sample
from care.config import AugmentationConfig
from care.randomness import generator
from care.vision import transforms

BATCH, SIDE = 256, 32
_MEAN, _STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def against_torchvision() -> Line:
    """One view of 256 images of side 32, against torchvision v2 on tensors."""
    config = AugmentationConfig()
    images = torch.from_numpy(
        generator(0, "bench").integers(0, 256, (BATCH, 3, SIDE, SIDE)).astype("uint8")
    )
    theirs = transforms.Compose(
        [
            transforms.ToDtype(torch.float32, scale=True),
            transforms.RandomResizedCrop(SIDE, antialias=True),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            transforms.RandomGrayscale(0.2),
            transforms.RandomApply([transforms.GaussianBlur(3, (0.1, 2.0))], p=0.5),
            transforms.Normalize(_MEAN, _STD),
        ]
    )

    def ours() -> None:
        table = sample(config, BATCH, (SIDE, SIDE), generator(0, "bench"))
        apply(table, images, _MEAN, _STD)

    return compare(
        "augmentation",
        "torchvision v2, image by image",
        ours,
        lambda: torch.stack([theirs(image) for image in images]),
    )
