"""Describe how samples become a network's input, and rebuild that from the description.

A trained encoder needs the mean and standard deviation of its training images. The record of them
(:class:`care.trials.records.PreprocessingRecord`) makes it usable where the data are not.
"""

from __future__ import annotations

from typing import Any

from care.augmentation import Augmenter, ImageAugmenter, RotationAugmenter
from care.config import AugmentationConfig
from care.trials.records import PreprocessingRecord


def describe_preprocessing(augmenter: Augmenter[Any]) -> PreprocessingRecord | None:
    """Describe the preprocessing of a data set's augmenter.

    Returns:
        The record; None for an augmenter of a plugin, which only its data set can build.
    """
    if type(augmenter) is RotationAugmenter:
        return PreprocessingRecord(kind="points")
    if type(augmenter) is not ImageAugmenter:
        return None
    mean, std = _as_floats(augmenter.mean), _as_floats(augmenter.std)
    return PreprocessingRecord(kind="images", size=augmenter.size, mean=mean, std=std)


def _as_floats(values: tuple[float, float, float]) -> tuple[float, float, float]:
    """Convert numbers of a plugin's data set, possibly numpy's, to Python's floats."""
    red, green, blue = map(float, values)
    return red, green, blue


def rebuild_augmenter(
    record: PreprocessingRecord, config: AugmentationConfig
) -> Augmenter[Any] | None:
    """Build the augmenter that a record describes.

    Args:
        record: Preprocessing of a trial.
        config: The trial's distribution of augmentations.

    Returns:
        The augmenter; None if the record of images lacks a field.
    """
    if record.kind == "points":
        return RotationAugmenter()
    if record.size is None or record.mean is None or record.std is None:
        return None
    return ImageAugmenter(config, record.size, record.mean, record.std)
