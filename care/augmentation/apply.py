"""Apply a table of augmentations to a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from care.augmentation.blur import blur
from care.augmentation.color import jitter, to_gray
from care.augmentation.crop import crop
from care.augmentation.table import AugmentationTable


def apply(
    table: AugmentationTable,
    images: Tensor,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Crop, flip, jitter, drop color, blur, normalize, in this order, on the images' device.

    With R rows and N images, row r serves the images r·m … (r + 1)·m - 1, m = N / R: a table with
    a row for each image augments each on its own, one with a row for each chunk shares it there.

    Args:
        table: R augmentations.
        images: uint8 [N,3,H,W], N a multiple of R.
        mean: Of each channel, in [0, 1].
        std: Likewise.

    Returns:
        float32 [N,3,H,W], normalized.

    Raises:
        ValueError: N is not a multiple of R.
    """
    if len(images) % len(table):
        raise ValueError(f"got {len(images)} images for {len(table)} rows; allowed: a multiple")
    x = (images.float() / 255).view(len(table), -1, *images.shape[1:])
    x = crop(x, table.crop, table.flip)
    x = jitter(x, table.jitter, table.order)
    gray = table.gray.nonzero().flatten()
    if len(gray):
        rows = gray.to(x.device)
        x[rows] = to_gray(x[rows]).expand_as(x[rows])
    blurred = table.sigma.nonzero().flatten()
    if len(blurred):
        rows = blurred.to(x.device)
        x[rows] = blur(x[rows], table.sigma[blurred], table.kernel_size)
    shape = (1, 3, 1, 1)
    center = torch.tensor(mean, device=x.device).view(shape)
    scale = torch.tensor(std, device=x.device).view(shape)
    return (x.flatten(0, 1) - center) / scale
