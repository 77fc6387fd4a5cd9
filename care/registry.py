"""Names that a configuration may use, and where the code behind each one lives.

A registry holds import paths, not objects, so that a configuration can be checked without importing
torch, and a new data set, encoder or objective is one new file and one line here.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DataSource:
    """A data set a configuration may name.

    Attributes:
        loader: ``module:function`` that returns a :class:`care.data.Dataset`.
        train_size: Number of training images, so that a batch can be checked before loading.
        side: Height and width of its images in pixels.
    """

    loader: str
    train_size: int
    side: int


DATA: dict[str, DataSource] = {
    "digits": DataSource("care.data.digits:load_digits", train_size=1437, side=16),
}

ENCODERS: dict[str, str] = {
    "small": "care.models.small:small_encoder",
    "resnet18": "care.models.resnet:resnet18_encoder",
    "resnet50": "care.models.resnet:resnet50_encoder",
    "resnet50_imagenet": "care.models.resnet:resnet50_imagenet_encoder",
}
"""Encoders of images."""

POINT_ENCODERS: dict[str, str] = {
    "deep_sets": "care.models.deep_sets:deep_sets_encoder",
}
"""Encoders of point clouds."""

ENCODER_FLOPS: dict[str, tuple[int, float]] = {
    "small": (16, 1.70e6),
    "resnet18": (32, 1.11e9),
    "resnet50": (32, 2.60e9),
    "resnet50_imagenet": (224, 8.17e9),
    "deep_sets": (100, 3.45e6),
}
"""(side or points, floating-point operations of one forward pass of one sample of that size)."""

OBJECTIVES: dict[str, str] = {
    "simclr": "care.objectives.simclr:SimCLR",
    "moco_v2": "care.objectives.moco:MoCo",
    "barlow_twins": "care.objectives.barlow_twins:BarlowTwins",
    "byol": "care.objectives.byol:BYOL",
    "alignment": "care.objectives.ablations:AlignmentOnly",
    "uniformity": "care.objectives.ablations:UniformityOnly",
    "none": "care.objectives.ablations:NoBase",
}


def load(path: str) -> Any:
    """The object at ``module:attribute``."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
