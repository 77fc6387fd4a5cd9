"""Compare each operation with torchvision's for equal parameters and images."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from care.augmentation import AugmentationTable, apply, identity
from care.augmentation.parameters import BRIGHTNESS, CONTRAST, HUE, SATURATION
from care.system.rng import generator
from care.system.torchvision import functional as tv
from tests.helpers.one_by_one import noise_images, real_images, torchvision_one_by_one

COUNT = 48
ATOL = 4e-6  # a thousandth of a step of uint8; float32 rounds at 6e-8
IMAGES: dict[str, Callable[[], Tensor]] = {
    "digits": lambda: real_images(COUNT),
    "noise": lambda: noise_images(COUNT, (16, 16)),
    "32x32": lambda: noise_images(COUNT, (32, 32)),
    "not square": lambda: noise_images(COUNT, (20, 33)),
}

of_all_kinds = pytest.mark.parametrize("images", [make() for make in IMAGES.values()], ids=IMAGES)


def table_for(images: Tensor, **fields: Any) -> AugmentationTable:
    height, width = images.shape[-2:]
    return replace(identity(len(images), (height, width)), **fields)


def assert_equal_to_torchvision(table: AugmentationTable, images: Tensor) -> None:
    ours = apply(table, images, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    theirs = torchvision_one_by_one(table, images)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=ATOL)
    plain = tv.to_dtype(images, torch.float32, scale=True)
    assert not torch.allclose(theirs, plain, atol=0.1), "the operation did nothing"


def uniform(low: float, high: float, *shape: int) -> Tensor:
    values = generator(0, "uniform").uniform(low, high, shape)
    return torch.from_numpy(values.astype(np.float32))


def windows(images: Tensor) -> Tensor:
    """All kinds of windows: single pixels, lines, the whole image, its corners, any others."""
    height, width = images.shape[-2:]
    rng = generator(0, "windows")
    h, w = rng.integers(1, height + 1, len(images)), rng.integers(1, width + 1, len(images))
    h[:12], w[:12] = [1, height, 1, height, 2, 3] * 2, [1, width, width, 1, 3, 2] * 2
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    top[6:9], left[6:9] = 0, 0
    top[9:12], left[9:12] = (height - h)[9:12], (width - w)[9:12]
    return torch.from_numpy(np.stack([top, left, h, w], axis=1))


@of_all_kinds
def test_crop(images: Tensor) -> None:
    assert_equal_to_torchvision(table_for(images, crop=windows(images)), images)


@of_all_kinds
def test_crop_and_flip(images: Tensor) -> None:
    flip = torch.arange(COUNT) % 3 > 0
    table = table_for(images, crop=windows(images), flip=flip)
    assert_equal_to_torchvision(table, images)


@of_all_kinds
@pytest.mark.parametrize("operation", [BRIGHTNESS, CONTRAST, SATURATION])
def test_brightness_contrast_saturation(images: Tensor, operation: int) -> None:
    jitter = identity(COUNT, (1, 1)).jitter
    jitter[:, operation] = uniform(0, 2, COUNT)
    jitter[0, operation], jitter[1, operation] = 0, 2
    assert_equal_to_torchvision(table_for(images, jitter=jitter), images)


@of_all_kinds
def test_hue(images: Tensor) -> None:
    jitter = identity(COUNT, (1, 1)).jitter
    jitter[:, HUE] = uniform(-0.5, 0.5, COUNT)
    jitter[:6, HUE] = torch.tensor([-0.5, 0.5, 1 / 3, -1 / 3, 1 / 6, 1e-4])
    assert_equal_to_torchvision(table_for(images, jitter=jitter), images)


@of_all_kinds
def test_jitter_in_each_of_its_24_orders(images: Tensor) -> None:
    order = torch.tensor(list(itertools.permutations(range(4))) * 2)
    jitter = uniform(0.2, 1.8, COUNT, 4)
    jitter[:, HUE] = uniform(-0.5, 0.5, COUNT)
    jitter[::5, HUE] = 0
    jitter[::7] = torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert_equal_to_torchvision(table_for(images, jitter=jitter, order=order), images)


@of_all_kinds
def test_grayscale(images: Tensor) -> None:
    table = table_for(images, gray=torch.arange(COUNT) % 4 > 0)
    assert_equal_to_torchvision(table, images)


@of_all_kinds
@pytest.mark.parametrize("kernel_size", [3, 5, 23])
def test_blur(images: Tensor, kernel_size: int) -> None:
    sigma = uniform(0.1, 4, COUNT)
    sigma[::3] = 0
    sigma[1], sigma[2] = 0.1, 4
    table = table_for(images, sigma=sigma, kernel_size=kernel_size)
    assert_equal_to_torchvision(table, images)
