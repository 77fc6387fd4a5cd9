"""Draw image augmentations of one kind alone, from the ranges of a whole distribution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from care.augmentation.parameters import AugmentationTable, identity, sample
from care.config import AugmentationConfig
from care.registry import AUGMENTATION_KINDS

SINGLE = ("grayscale", "flip")
"""Kinds without a parameter: all augmentations of the kind are equal."""


def has_kind(config: AugmentationConfig, kind: str) -> bool:
    """Check whether a distribution ever applies a kind of augmentation with an effect."""
    jitter = config.color_jitter
    strengths = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    probabilities = {
        "crop": float(config.crop.scale[0] < 1 or config.crop.ratio != (1, 1)),
        "color": jitter.probability * max(strengths),
        "grayscale": config.grayscale,
        "blur": config.gaussian_blur.probability * (config.gaussian_blur.kernel_size - 1),
        "flip": config.horizontal_flip,
    }
    return probabilities[kind] > 0


def sample_kind(
    config: AugmentationConfig,
    kind: str,
    count: int,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> AugmentationTable:
    """Draw ``count`` augmentations of one kind, each with an effect.

    Args:
        config: The distribution, which has the kind (:func:`has_kind`); its probabilities are
            replaced by 1.
        kind: One of :data:`care.registry.AUGMENTATION_KINDS`.
        count: Number of rows.
        size: Height and width of the images in pixels.
        rng: The random generator.
    """
    certain = config.model_copy(
        update={
            "horizontal_flip": 1.0,
            "grayscale": 1.0,
            "color_jitter": config.color_jitter.model_copy(update={"probability": 1.0}),
            "gaussian_blur": config.gaussian_blur.model_copy(update={"probability": 1.0}),
        }
    )
    drawn, plain = sample(certain, count, size, rng), identity(count, size)
    match kind:
        case "crop":
            return replace(plain, crop=drawn.crop)
        case "color":
            return replace(plain, jitter=drawn.jitter, order=drawn.order)
        case "grayscale":
            return replace(plain, gray=drawn.gray)
        case "blur":
            return replace(plain, sigma=drawn.sigma, kernel_size=drawn.kernel_size)
        case "flip":
            return replace(plain, flip=drawn.flip)
    raise ValueError(f"got {kind!r}; allowed: {', '.join(AUGMENTATION_KINDS)}")
