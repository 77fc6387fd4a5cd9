"""Draw the parameters of image augmentations on the CPU, one row each (docs/paper.md §4)."""

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
    """R augmentations of images.

    The table stays on the CPU, so that the host can choose operations without a synchronization.

    Attributes:
        size: Height and width of the images in pixels.
        crop: top, left, height, width in pixels, int64 [R,4].
        flip: Mirror left and right, bool [R].
        jitter: Factors of brightness, contrast and saturation and the hue shift in turns, float32
            [R,4]; 1, 1, 1, 0 without jitter.
        order: The jitter's operations in the order of application, int64 [R,4].
        gray: Convert to gray, bool [R].
        sigma: Standard deviation of the blur in pixels, float32 [R]; 0 without blur.
        kernel_size: Size of the blur's kernel in pixels, odd.
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
        """Select the rows at ``index``, a slice or int64 [n]."""
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
        """Return the augmentations as input of EquiMod's predictor, float32 [R,16].

        Crop (top, left, height, width), flip, order and values of the jitter's four operations,
        gray, blurred, and the blur's σ. EquiMod's authors add a flag for jittered colors; here
        neutral values express it.
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
        """Describe each row, e.g. ``crop 12 × 9 at 3, 0, flip, hue + 0.05``."""
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
        """Repeat each row ``times`` times consecutively."""
        return self.rows(torch.arange(len(self)).repeat_interleave(times)) if times > 1 else self


def identity(count: int, size: tuple[int, int]) -> AugmentationTable:
    """Return ``count`` rows that do not change images of ``size`` (height, width)."""
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
    """Draw ``count`` augmentations as a function of ``rng``.

    Args:
        config: The distribution.
        count: Number of rows R.
        size: Height and width of the images in pixels.
        rng: The random generator.
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
    """Draw crops like torchvision's RandomResizedCrop: the first of ten to fit, else the center."""
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
    """Return height and width of the largest crop with an allowed aspect ratio."""
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
