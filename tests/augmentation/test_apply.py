"""Batched augmentation equals torchvision's functional operations, an image at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from care.augmentation import AugmentationTable, apply, identity, sample
from care.config import AugmentationConfig
from care.data import load_dataset
from care.randomness import generator
from care.vision import functional

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
NO_CHANGE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
# Both sides round in float32; the largest difference seen is 6e-6 after normalization.
CLOSE: Any = {"rtol": 0.0, "atol": 2e-5}


def noise(count: int, height: int, width: int) -> Tensor:
    values = generator(1, "noise").integers(0, 256, (count, 3, height, width))
    return torch.from_numpy(values.astype("uint8"))


IMAGES = {
    "digits": load_dataset("digits").train.images[:96],
    "noise-32": noise(96, 32, 32),
    "not-square": noise(48, 20, 33),
}


def table_for(images: Tensor, rows: int, seed: int = 0, **changes: object) -> AugmentationTable:
    height, width = images.shape[-2:]
    config = AugmentationConfig.model_validate(changes)
    return sample(config, rows, (height, width), generator(seed, "test"))


def by_torchvision(table: AugmentationTable, row: int, image: Tensor) -> Tensor:
    """One image through torchvision's own operations with a row's parameters."""
    size = list(image.shape[-2:])
    x = image.float() / 255
    top, left, height, width = table.crop[row].tolist()
    x = functional.resized_crop(x, top, left, height, width, size, antialias=True)
    if table.flip[row]:
        x = functional.horizontal_flip(x)
    operations: list[Any] = [
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    ]
    for operation in table.order[row].tolist():
        if operation >= 0:
            x = operations[operation](x, float(table.jitter[row, operation]))
    if table.gray[row]:
        x = functional.rgb_to_grayscale(x, 3)
    if table.sigma[row] > 0:
        x = functional.gaussian_blur(x, [table.kernel_size] * 2, [float(table.sigma[row])] * 2)
    result: Tensor = functional.normalize(x, list(MEAN), list(STD))
    return result


OFF: dict[str, Any] = {
    "crop": {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)},
    "horizontal_flip": 0.0,
    "color_jitter": {"probability": 0.0},
    "grayscale": 0.0,
    "gaussian_blur": {"probability": 0.0},
}
ALONE: dict[str, dict[str, Any]] = {
    "crop": {"crop": {"scale": (0.08, 1.0)}},
    "flip": {"horizontal_flip": 0.5},
    "jitter": {"color_jitter": {"probability": 1.0, "hue": 0.5}},
    "gray": {"grayscale": 0.5},
    "blur": {"gaussian_blur": {"probability": 1.0}},
    "wide-blur": {"gaussian_blur": {"probability": 1.0, "kernel_size": 7}},
}


@pytest.mark.parametrize("images", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize("operation", ["all", *ALONE])
def test_equals_torchvision(images: Tensor, operation: str) -> None:
    changes = {} if operation == "all" else {**OFF, **ALONE[operation]}
    table = table_for(images, len(images), **changes)
    expected = torch.stack([by_torchvision(table, i, image) for i, image in enumerate(images)])
    torch.testing.assert_close(apply(table, images, MEAN, STD), expected, **CLOSE)


@pytest.mark.parametrize("rows", [1, 4, 16, 48])
def test_a_shared_row_is_the_row_repeated(rows: int) -> None:
    images = IMAGES["noise-32"]
    table = table_for(images, rows)
    expected = torch.stack(
        [by_torchvision(table, i // (len(images) // rows), image) for i, image in enumerate(images)]
    )
    torch.testing.assert_close(apply(table, images, MEAN, STD), expected, **CLOSE)


def test_an_image_does_not_depend_on_its_neighbors() -> None:
    images = IMAGES["digits"]
    table = table_for(images, len(images))
    rows = torch.tensor([3, 50, 51, 95])
    part = replace(
        table, **{name: getattr(table, name)[rows] for name in vars(table) if name != "kernel_size"}
    )
    whole = apply(table, images, MEAN, STD)[rows]
    torch.testing.assert_close(apply(part, images[rows], MEAN, STD), whole, **CLOSE)


def test_identity_only_normalizes() -> None:
    images = IMAGES["not-square"]
    table = identity(1, (20, 33))
    torch.testing.assert_close(apply(table, images, *NO_CHANGE), images.float() / 255)
    expected = functional.normalize(images.float() / 255, list(MEAN), list(STD))
    torch.testing.assert_close(apply(table, images, MEAN, STD), expected)


def test_input_is_left_alone() -> None:
    images = IMAGES["digits"]
    before = images.clone()
    apply(table_for(images, len(images)), images, MEAN, STD)
    assert torch.equal(images, before)


def test_rows_must_divide_images() -> None:
    images = IMAGES["digits"]
    with pytest.raises(ValueError, match="got 96 images for 7 rows; allowed: a multiple"):
        apply(table_for(images, 7), images, MEAN, STD)
