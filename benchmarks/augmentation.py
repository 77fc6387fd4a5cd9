"""Batched augmentation against torchvision, image by image, and kornia, on the batch."""

from __future__ import annotations

import torch

from benchmarks.measure import Missing, Result, compare
from benchmarks.peers import PeerError, best_blur, peer
from benchmarks.sides import Side, SideError
from benchmarks.workload import MEAN, SIDE, STD, Workload, make_images
from care.augmentation import apply, sample
from care.config import AugmentationConfig
from care.system.rng import generator
from care.system.torchvision import transforms

BATCH = 256
_NAME = "augmentation"
_KORNIA = "kornia, batched"


def augmentation() -> list[Result]:
    """Time one view of 256 images of side 32, all on one core."""
    return [_against_pil(), _against_tensors(), _against_kornia()]


def _images() -> torch.Tensor:
    return torch.from_numpy(make_images()[:BATCH]).permute(0, 3, 1, 2).contiguous()


class _Ours:
    def __init__(self) -> None:
        self._config, self._images = AugmentationConfig(), _images()

    def __call__(self) -> None:
        table = sample(self._config, BATCH, (SIDE, SIDE), generator(0, "bench"))
        apply(table, self._images, MEAN, STD)


def _against_pil() -> Result:
    blur, python = best_blur()
    with Side("pil_views", Workload("none", BATCH), python, cores=1) as theirs:
        return compare(_NAME, f"torchvision on PIL images, {blur}", _Ours(), theirs)


def _against_tensors() -> Result:
    theirs = transforms.Compose(
        [
            transforms.ToDtype(torch.float32, scale=True),
            transforms.RandomResizedCrop(SIDE, antialias=True),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            transforms.RandomGrayscale(0.2),
            transforms.RandomApply([transforms.GaussianBlur(3, (0.1, 2.0))], p=0.5),
            transforms.Normalize(MEAN, STD),
        ]
    )
    images = _images()
    return compare(
        _NAME,
        "torchvision v2, image by image",
        _Ours(),
        lambda: torch.stack([theirs(image) for image in images]),
    )


def _against_kornia() -> Result:
    try:
        with Side("kornia_views", Workload("none", BATCH), peer("kornia"), cores=1) as theirs:
            return compare(_NAME, _KORNIA, _Ours(), theirs)
    except (PeerError, SideError) as error:
        return Missing(_NAME, _KORNIA, str(error))
