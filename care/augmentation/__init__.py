"""Augment in two steps: ``sample`` draws a table of parameters, ``apply`` applies it to images.

One row per chunk of images shares an augmentation within the chunk.
"""

from __future__ import annotations

from care.augmentation.apply import apply
from care.augmentation.augmenter import Augmenter, ImageAugmenter, Table
from care.augmentation.parameters import AugmentationTable, identity, sample
from care.augmentation.rotation import RotationAugmenter

__all__ = [
    "AugmentationTable",
    "Augmenter",
    "ImageAugmenter",
    "RotationAugmenter",
    "Table",
    "apply",
    "identity",
    "sample",
]
