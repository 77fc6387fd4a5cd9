"""Image augmentations with a single effect each, to compare the rotations that they induce."""

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
    """Return one-row tables for images of ``size`` (height, width), by name.

    The jitter's factors are ends of the authors' ranges (docs/paper.md §4). A second hue shift, by
    a third of the circle, turns red into green.
    """
    height, width = size
    plain = identity(1, size)
    middle = torch.tensor([[height // 4, width // 4, max(1, height // 2), max(1, width // 2)]])
    return {
        "flip": replace(plain, flip=torch.tensor([True])),
        "crop, middle half": replace(plain, crop=middle),
        "brightness × 1.4": jitter_once(size, BRIGHTNESS, 1.4),
        "contrast × 0.6": jitter_once(size, CONTRAST, 0.6),
        "saturation × 0.6": jitter_once(size, SATURATION, 0.6),
        "hue + 0.1": shift_hue(size, 0.1),
        "hue + 0.33": shift_hue(size, 1 / 3),
        "grayscale": replace(plain, gray=torch.tensor([True])),
        "blur, σ = 1 px": replace(
            plain, sigma=torch.tensor([1.0]), kernel_size=min(_BLUR_KERNEL, 2 * min(size) - 1)
        ),
    }


def shift_hue(size: tuple[int, int], turn: float) -> AugmentationTable:
    """Return one row that shifts the hue by ``turn`` of the circle and changes nothing else."""
    return jitter_once(size, HUE, (turn + 0.5) % 1 - 0.5)


def jitter_once(size: tuple[int, int], operation: int, value: float) -> AugmentationTable:
    """Return one row with a single operation of the jitter."""
    values = torch.tensor([NEUTRAL])
    values[0, operation] = value
    return replace(identity(1, size), jitter=values)
