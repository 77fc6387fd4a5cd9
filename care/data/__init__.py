"""Images in memory: uint8 tensors, labels, and the factors that are known of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from care.augmentation import Augmenter, ImageAugmenter
from care.config import AugmentationConfig
from care.errors import ConfigError, unknown_name
from care.registry import DATA, load


@dataclass(frozen=True)
class ImageSet:
    """Images of one split.

    Attributes:
        images: uint8 [N,3,H,W].
        labels: Classes, int64 [N].
        factors: Known factors by name, float32 [N]; ``hue`` in turns of the circle, [0, 1).
    """

    images: Tensor
    labels: Tensor
    factors: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> ImageSet:
        """The same on ``device``."""
        factors = {name: values.to(device) for name, values in self.factors.items()}
        return ImageSet(self.images.to(device), self.labels.to(device), factors)


@dataclass(frozen=True)
class Dataset:
    """A data set with its fixed split.

    Attributes:
        name: As in the configuration.
        train: Training images.
        test: Held-out images.
        classes: Names of the classes, by label.
        mean: Of each channel over the training images, in [0, 1].
        std: Likewise, the standard deviation.
    """

    name: str
    train: ImageSet
    test: ImageSet
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def augmenter(self, config: AugmentationConfig) -> Augmenter[Any]:
        """Augments its images with augmentations distributed as ``config`` says."""
        height, width = self.train.images.shape[-2:]
        return ImageAugmenter(config, (height, width), self.mean, self.std)

    def to(self, device: torch.device | str) -> Dataset:
        """The same on ``device``."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))


def load_dataset(name: str) -> Dataset:
    """The data set that the configuration calls ``name``, on the CPU.

    Raises:
        ConfigError: No data set has this name.
    """
    if name not in DATA:
        raise ConfigError("data", [unknown_name("data.name", name, DATA)])
    dataset: Dataset = load(DATA[name].loader)()
    return dataset
