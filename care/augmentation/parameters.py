"""Parameters of augmentations, a row each, drawn on the CPU (docs/paper.md §4)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from care.config import AugmentationConfig, ColorJitterConfig, CropConfig

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
NEUTRAL = (1.0, 1.0, 1.0, 0.0)  # factors and hue shift that change nothing
PARAMETERS = 16  # columns of AugmentationTable.parameters
_JITTER = ("brightness", "contrast", "saturation", "hue")
_TRIES = 10


@dataclass(frozen=True)
class AugmentationTable:
    """R augmentations.

    The table stays on the CPU, so that which rows need which operation is known without asking the
    device.

    Attributes:
        size: Height and width in pixels of the images it is for.
        crop: top, left, height, width in pixels, int64 [R,4].
        flip: Whether to mirror left and right, bool [R].
        jitter: Factors of brightness, contrast and saturation and the hue shift in turns, float32
            [R,4]; 1, 1, 1, 0 for none.
        order: The jitter's operations in the order they are applied, int64 [R,4].
        gray: Whether to drop color, bool [R].
        sigma: Of the blur in pixels, float32 [R]; 0 for none.
        kernel_size: Of the blur in pixels, odd.
    """

    size: tuple[int, int]
    crop: Tensor
    flip: Tensor
    jitter: Tensor
    order: Tensor
    gray: Tensor
    sigma: Tensor
    kernel_size: int

    def __len__(self) -> int:
        return len(self.flip)

    def rows(self, index: slice | Tensor) -> AugmentationTable:
        """The table of the rows at ``index``, a slice or int64 [n]."""
        return replace(
            self,
            crop=self.crop[index],
            flip=self.flip[index],
            jitter=self.jitter[index],
            order=self.order[index],
            gray=self.gray[index],
            sigma=self.sigma[index],
        )

    def parameters(self) -> Tensor:
        """The augmentations as EquiMod's predictor sees them, float32 [R,16].

        Crop (top, left, height, width), flip, order of the jitter's four operations, its four
        values, grey, whether blurred, and the blur's σ. EquiMod's authors add whether colors were
        jittered at all, which here the neutral values say.
        """
        columns = (
            self.crop,
            self.flip[:, None],
            self.order,
            self.jitter,
            self.gray[:, None],
            (self.sigma > 0)[:, None],
            self.sigma[:, None],
        )
        return torch.cat([column.float() for column in columns], dim=1)

    def describe(self) -> list[str]:
        """What each row does, e.g. ``crop 12 × 9 at 3, 0, flip, hue + 0.05``."""
        return [", ".join(self._changes(row)) or "nothing" for row in range(len(self))]

    def _changes(self, row: int) -> Iterator[str]:
        top, left, height, width = self.crop[row].tolist()
        if (height, width) != self.size:
            yield f"crop {height} × {width} at {top}, {left}"
        if self.flip[row]:
            yield "flip"
        for name, neutral, value in zip(_JITTER, NEUTRAL, self.jitter[row].tolist(), strict=True):
            if value != neutral:
                sign = "×" if neutral else "+" if value > 0 else "−"
                yield f"{name} {sign} {abs(value):.2f}"
        if self.gray[row]:
            yield "grayscale"
        if self.sigma[row]:
            yield f"blur {self.sigma[row]:.2f} px"

    def repeat(self, times: int) -> AugmentationTable:
        """The table with each row ``times`` times, one after the other."""
        return self.rows(torch.arange(len(self)).repeat_interleave(times)) if times > 1 else self


def identity(count: int, size: tuple[int, int]) -> AugmentationTable:
    """``count`` rows that change nothing about images of ``size`` (height, width)."""
    height, width = size
    return AugmentationTable(
        size=size,
        crop=torch.tensor([[0, 0, height, width]]).repeat(count, 1),
        flip=torch.zeros(count, dtype=torch.bool),
        jitter=torch.tensor([NEUTRAL]).repeat(count, 1),
        order=torch.arange(4).repeat(count, 1),
        gray=torch.zeros(count, dtype=torch.bool),
        sigma=torch.zeros(count),
        kernel_size=1,
    )


def sample(
    config: AugmentationConfig, count: int, size: tuple[int, int], rng: np.random.Generator
) -> AugmentationTable:
    """Draw ``count`` augmentations of images of ``size`` (height, width).

    Args:
        config: The distribution.
        count: Rows R of the table.
        size: Height and width of the images in pixels.
        rng: Where the numbers come from; the table is a function of it.
    """
    blur = config.gaussian_blur
    sigma = rng.uniform(*blur.sigma, count) * (rng.random(count) < blur.probability)
    jitter, order = _sample_jitter(config.color_jitter, count, rng)
    return AugmentationTable(
        size=size,
        crop=torch.from_numpy(_sample_crop(config.crop, count, size, rng)),
        flip=torch.from_numpy(rng.random(count) < config.horizontal_flip),
        jitter=torch.from_numpy(jitter.astype(np.float32)),
        order=torch.from_numpy(order),
        gray=torch.from_numpy(rng.random(count) < config.grayscale),
        sigma=torch.from_numpy(sigma.astype(np.float32)),
        kernel_size=blur.kernel_size,
    )


def _sample_crop(
    config: CropConfig, count: int, size: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Torchvision's RandomResizedCrop: the first of ten tries that fits, else the center."""
    height, width = size
    area = height * width * rng.uniform(*config.scale, (count, _TRIES))
    low, high = map(math.log, config.ratio)
    ratio = np.exp(rng.uniform(low, high, (count, _TRIES)))
    w = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    h = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = (np.arange(count), fits.argmax(1))
    fallback = ~fits.any(1)
    center_h, center_w = _center_crop(config, size)
    h = np.where(fallback, center_h, h[first])
    w = np.where(fallback, center_w, w[first])
    u, v = rng.random(count), rng.random(count)
    top = np.where(fallback, (height - h) // 2, np.floor(u * (height - h + 1)).astype(np.int64))
    left = np.where(fallback, (width - w) // 2, np.floor(v * (width - w + 1)).astype(np.int64))
    return np.stack([top, left, h, w], axis=1)


def _center_crop(config: CropConfig, size: tuple[int, int]) -> tuple[int, int]:
    """The largest crop whose aspect ratio is allowed."""
    height, width = size
    if width / height < config.ratio[0]:
        return max(1, round(width / config.ratio[0])), width
    if width / height > config.ratio[1]:
        return height, max(1, round(height * config.ratio[1]))
    return height, width


def _sample_jitter(
    config: ColorJitterConfig, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    spread = np.array([config.brightness, config.contrast, config.saturation, config.hue])
    jitter = NEUTRAL + spread * rng.uniform(-1, 1, (count, 4))
    order = rng.permuted(np.tile(np.arange(4), (count, 1)), axis=1)
    jittered = rng.random(count) < config.probability
    return np.where(jittered[:, None], jitter, NEUTRAL), order
