"""The difference of two augmentations of an image, as AugSelf describes it (arXiv 2111.09613)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from care.augmentation import AugmentationTable, Augmenter, ImageAugmenter
from care.config import ColorJitterConfig
from care.data.shared_batches import Batch
from care.distributed.group import Group
from care.objectives.inputs import ViewSpec

CROP = slice(0, 4)
FLIP = slice(4, 5)
COLOR = slice(5, 9)
BLUR = slice(9, 10)
GRAY = slice(10, 11)
WIDTH = 11
"""Columns of :func:`difference`."""


@dataclass(frozen=True)
class DifferenceSpec:
    """How the augmentations of two views of the same samples differ.

    Attributes:
        first: The first view.
        second: The second view.
        name: Its key.
    """

    first: ViewSpec
    second: ViewSpec
    name: str = "difference"

    def make(self, batch: Batch, augmenter: Augmenter[Any], group: Group) -> Tensor:
        """Return a row for each sample of the whole batch, float32 [N,11]."""
        count = len(batch.samples) * group.size
        tables = [spec.table(batch, augmenter, group) for spec in (self.first, self.second)]
        one, two = (
            cast("AugmentationTable", table.repeat(count // len(table))) for table in tables
        )
        rows = difference(one, two, cast("ImageAugmenter", augmenter).config.color_jitter)
        return rows.to(batch.samples.device, non_blocking=True)


def difference(
    first: AugmentationTable, second: AugmentationTable, jitter: ColorJitterConfig
) -> Tensor:
    """Subtract the parameters of ``second`` from those of ``first``, float32 [R,11].

    Columns, as in AugSelf's code:

    - :data:`CROP`: y and x of the crop's center, its height and width, as fractions of the image.
      Centers are mirrored if the first view is, so that x has the direction of that view.
    - :data:`FLIP`: 1 if both or neither are mirrored, else 0; not a difference.
    - :data:`COLOR`: brightness, contrast, saturation and hue, over the width of their range, so
      in [-1, 1]; 0 where the range is a point.
    - :data:`BLUR`: σ in pixels, 0 without blur.
    - :data:`GRAY`: 1, 0 or -1. AugSelf leaves it out.

    Args:
        first: R augmentations of images.
        second: R augmentations of images of the same size.
        jitter: The distribution of both, for the ranges.
    """
    spread = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    scale = torch.tensor([1 / (2 * width) if width else 0.0 for width in spread])
    columns = (
        _box(first, first.flip) - _box(second, first.flip),
        (first.flip == second.flip)[:, None],
        (first.jitter - second.jitter) * scale,
        (first.sigma - second.sigma)[:, None],
        (first.gray.float() - second.gray.float())[:, None],
    )
    return torch.cat([column.float() for column in columns], dim=1)


def _box(table: AugmentationTable, mirrored: Tensor) -> Tensor:
    """Return y and x of the center, height and width as fractions of the image, [R,4]."""
    top, left, height, width = (table.crop / torch.tensor(table.size * 2)).unbind(1)
    x = left + width / 2
    return torch.stack([top + height / 2, torch.where(mirrored, 1 - x, x), height, width], dim=1)
