"""Apply a table of augmentations to a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from care.augmentation.blur import blur
from care.augmentation.color import jitter, to_gray
from care.augmentation.constants import constant
from care.augmentation.crop import crop
from care.augmentation.parameters import AugmentationTable


@torch.no_grad()
def augment(table: AugmentationTable, images: Tensor) -> Tensor:
    """Crop, flip, jitter, convert to gray and blur, in this order, on the images' device.

    Row r is applied to the images r·m … (r + 1)·m - 1, with m = N / R. So a table with one row per
    image augments each independently, and one with a row per chunk shares it within the chunk. The
    host never waits for the device, as the table on the CPU decides all control flow.

    Args:
        table: R augmentations.
        images: uint8, or float32 in [0, 1], [N,3,H,W], N a multiple of R.

    Returns:
        float32 [N,3,H,W] in [0, 1].

    Raises:
        ValueError: N is not a multiple of R, or the table is for images of another size.
    """
    if not len(table) or len(images) % len(table):
        raise ValueError(f"got {len(images)} images for {len(table)} rows; allowed: a multiple")
    if images.shape[-2:] != table.size:
        size = tuple(images.shape[-2:])
        raise ValueError(f"got images of {size} pixels; allowed: {table.size}, the table's size")
    # Autocast would compute the products in bfloat16, too coarse for colors.
    with torch.autocast(images.device.type, enabled=False):
        x = crop(images, table.crop, table.flip)
        table = table.repeat(len(images) // len(table))  # from here on one row per image
        x = jitter(x, table.jitter, table.order)
        gray, blurred = table.gray.nonzero().flatten(), table.sigma.nonzero().flatten()
        if len(gray):
            rows = gray.to(x.device, non_blocking=True)
            x.index_copy_(0, rows, to_gray(x.index_select(0, rows)))
        if len(blurred):
            rows = blurred.to(x.device, non_blocking=True)
            blurry = blur(x.index_select(0, rows), table.sigma[blurred], table.kernel_size)
            x.index_copy_(0, rows, blurry)
        return x


@torch.no_grad()
def normalize(
    images: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """Subtract each channel's mean and divide by its standard deviation, in place.

    Args:
        images: float32 [N,3,H,W] in [0, 1].
        mean: Mean of each channel, in [0, 1].
        std: Standard deviation of each channel, in [0, 1].
    """
    mean_, std_ = (constant(values, images.device).view(3, 1, 1) for values in (mean, std))
    return images.sub_(mean_).div_(std_)


def apply(
    table: AugmentationTable,
    images: Tensor,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Augment and normalize images for a network; see :func:`augment` and :func:`normalize`."""
    return normalize(augment(table, images), mean, std)
