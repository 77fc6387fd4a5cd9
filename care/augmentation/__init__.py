"""Augmentation in two parts: ``sample`` draws a table of parameters, ``apply`` uses it.

Sharing one augmentation over a chunk of images is sampling one row for it.
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
