"""Configure the distribution of the augmentations (docs/paper.md §4)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from care.config.base import Model, Probability, Range, check_odd, check_ordered


class CropConfig(Model):
    """Random resized crop: range of the area, as a fraction, and of the aspect ratio."""

    scale: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]],
        Field(strict=False),
        AfterValidator(check_ordered),
    ] = (0.08, 1.0)
    ratio: Range = (3 / 4, 4 / 3)


class ColorJitterConfig(Model):
    """Color jitter: factors U(1 - x, 1 + x), hue shift U(-hue, hue) in turns of the circle."""

    probability: Probability = 0.8
    brightness: Probability = 0.4
    contrast: Probability = 0.4
    saturation: Probability = 0.4
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1


class GaussianBlurConfig(Model):
    """Gaussian blur with a standard deviation U(sigma) in pixels."""

    probability: Probability = 0.5
    kernel_size: Annotated[int, Field(gt=0), AfterValidator(check_odd)] = 3
    sigma: Range = (0.1, 2.0)


class AugmentationConfig(Model):
    """Distribution of the augmentations; defaults are docs/paper.md §4 [C]."""

    crop: CropConfig = CropConfig()
    horizontal_flip: Probability = 0.5
    color_jitter: ColorJitterConfig = ColorJitterConfig()
    grayscale: Probability = 0.2
    gaussian_blur: GaussianBlurConfig = GaussianBlurConfig()
