"""Augmentations of images that change one thing each: what does a rotation answer to?"""

from __future__ import annotations

from dataclasses import replace

import torch

from care.augmentation.parameters import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    NEUTRAL,
    SATURATION,
    AugmentationTable,
    identity,
)

_BLUR_KERNEL = 3  # docs/paper.md §4 [C]


def named_augmentations(size: tuple[int, int]) -> dict[str, AugmentationTable]:
    """Tables of one row each for images of ``size`` (height, width).

    The jitter's factors are the ends of the authors' ranges (docs/paper.md §4); the hue also
    turns by a third, which takes red to green.
    """
    height, width = size
    plain = identity(1, size)
    middle = torch.tensor([[height // 4, width // 4, max(1, height // 2), max(1, width // 2)]])
    return {
        "flip": replace(plain, flip=torch.tensor([True])),
        "crop, middle half": replace(plain, crop=middle),
        "brightness × 1.4": jittered(size, BRIGHTNESS, 1.4),
        "contrast × 0.6": jittered(size, CONTRAST, 0.6),
        "saturation × 0.6": jittered(size, SATURATION, 0.6),
        "hue + 0.1": turned_hue(size, 0.1),
        "hue + 0.33": turned_hue(size, 1 / 3),
        "grayscale": replace(plain, gray=torch.tensor([True])),
        "blur, σ = 1 px": replace(
            plain, sigma=torch.tensor([1.0]), kernel_size=min(_BLUR_KERNEL, 2 * min(size) - 1)
        ),
    }


def turned_hue(size: tuple[int, int], turn: float) -> AugmentationTable:
    """One row that turns the hue by ``turn`` of the circle and changes nothing else."""
    return jittered(size, HUE, (turn + 0.5) % 1 - 0.5)


def jittered(size: tuple[int, int], operation: int, value: float) -> AugmentationTable:
    """One row with one of the jitter's operations and nothing else."""
    values = torch.tensor([NEUTRAL])
    values[0, operation] = value
    return replace(identity(1, size), jitter=values)
