"""A small data set whose class and hue are the color, and a network that sees only the color."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from care.config import (
    AugmentationConfig,
    ColorJitterConfig,
    CropConfig,
    GaussianBlurConfig,
    HeadConfig,
    ModelConfig,
)
from care.data.dataset import Dataset, ImageSet
from care.models import Network, build_network

SIDE = 8
UNCHANGED = AugmentationConfig(
    crop=CropConfig(scale=(1.0, 1.0), ratio=(1.0, 1.0)),
    horizontal_flip=0.0,
    color_jitter=ColorJitterConfig(probability=0.0),
    grayscale=0.0,
    gaussian_blur=GaussianBlurConfig(probability=0.0),
)


class ColorEncoder(nn.Module):
    """The mean color, [N,3]."""

    feature_dim = 3

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


def color_network() -> Network:
    """The color before the head; after it one point of the sphere, whatever the image."""
    head = nn.Linear(3, 2)
    nn.init.zeros_(head.weight)
    nn.init.ones_(head.bias)
    return Network(ColorEncoder(), head)


def small_network() -> Network:
    """A random network whose BatchNorm has seen images, so that embeddings differ."""
    config = ModelConfig(encoder="small", head=HeadConfig(hidden=16, output=4))
    network = build_network(config, seed=0).train()
    images = colored_images(48, seed=2).images / 64 - 2
    for _ in range(30):
        network(images)
    return network


def colored_images(count: int, seed: int) -> ImageSet:
    """Images [count,3,8,8] with a little noise, of hues near 0, 1/3 and 2/3: the classes."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    hue = labels / 3 + 0.05 * torch.rand(count, generator=rng)
    phases = torch.tensor([0.0, 1 / 3, 2 / 3])
    colors = 128 + 90 * torch.cos(2 * torch.pi * (hue.unsqueeze(1) - phases))
    noise = 30 * torch.rand(count, 3, SIDE, SIDE, generator=rng)
    images = (colors[:, :, None, None] + noise).to(torch.uint8)
    return ImageSet(images, labels, {"hue": hue})


def colored_dataset(train: int = 48, test: int = 24) -> Dataset:
    """Different images for training and test."""
    return Dataset(
        name="colored",
        train=colored_images(train, seed=0),
        test=colored_images(test, seed=1),
        classes=("red", "green", "blue"),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )
