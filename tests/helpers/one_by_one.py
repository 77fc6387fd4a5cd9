"""Real and made images, and torchvision's functional operations on one of them at a time."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from care.augmentation import AugmentationTable
from care.config import DataConfig
from care.data.dataset import load_dataset
from care.system.rng import generator
from care.system.torchvision import functional as tv


def real_images(count: int) -> Tensor:
    """Digits, uint8 [count,3,16,16]."""
    return load_dataset(DataConfig(), Path()).train.images[:count]


def noise_images(count: int, size: tuple[int, int]) -> Tensor:
    """Pixels at random and, among them, those where operations have cases.

    Black, white, gray and pure colors, and colors with two equal channels.
    """
    rng = generator(0, "noise-images")
    pixels = rng.integers(0, 256, (count, *size, 3))
    special = rng.choice([0, 1, 128, 254, 255], (count, *size, 3))
    chosen = rng.random((count, *size, 1)) < 0.3
    mixed = torch.from_numpy((special * chosen + pixels * ~chosen).astype("uint8"))
    return mixed.permute(0, 3, 1, 2).contiguous()


def torchvision_one_by_one(table: AugmentationTable, images: Tensor) -> Tensor:
    """What torchvision makes of each image with its row's parameters, from float64, [N,3,H,W]."""
    return torch.stack([_augment(table, row, image) for row, image in enumerate(images)]).float()


def _augment(table: AugmentationTable, row: int, image: Tensor) -> Tensor:
    top, left, height, width = table.crop[row].tolist()
    x = tv.to_dtype(image, torch.float64, scale=True)
    x = tv.resized_crop(x, top, left, height, width, list(image.shape[-2:]), antialias=True)
    if table.flip[row]:
        x = tv.horizontal_flip(x)
    adjustments = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
    for operation in table.order[row].tolist():
        x = adjustments[operation](x, table.jitter[row, operation].item())
    if table.gray[row]:
        x = tv.rgb_to_grayscale(x, num_output_channels=3)
    if table.sigma[row] > 0:
        x = tv.gaussian_blur(x, [table.kernel_size] * 2, [table.sigma[row].item()] * 2)
    result: Tensor = x
    return result
