"""Augment images by a fixed sequence of operations, as CUDA graphs require.

:mod:`care.augmentation.apply` applies each operation to the selected images only, which is fast on
a CPU. Here each operation runs on all images and masks its result, so a table is a plain matrix.
On a GPU, where kernel launches dominate, this is faster.
"""

from __future__ import annotations

import torch
from torch import Tensor

from care.augmentation.blur import convolve, gaussian_kernel
from care.augmentation.color import adjust_hue, blend, blends, to_gray
from care.augmentation.crop import resample, sources
from care.augmentation.parameters import HUE, NEUTRAL, AugmentationTable

_POSITIONS = 4  # in the order of the jitter's operations
_MATRICES = (_POSITIONS - 1) * 9


def pack(table: AugmentationTable) -> Tensor:
    """Pack a table into a matrix for :func:`augment_packed`, float32 [R,P] on the CPU."""
    y, x = sources(table.crop, table.flip, table.size)
    of_pixel, of_mean = blends(table.jitter, table.order)
    shift = torch.where(table.order == HUE, table.jitter[:, HUE:] - NEUTRAL[HUE], 0)
    columns = (
        y,
        x,
        of_pixel.transpose(0, 1).flatten(1),
        of_mean.transpose(0, 1).flatten(1),
        shift,
        table.gray[:, None].float(),
        _kernel(table),
    )
    return torch.cat(columns, dim=1)


@torch.no_grad()
def augment_packed(packed: Tensor, images: Tensor) -> Tensor:
    """Augment images like :func:`care.augmentation.apply.augment`, up to rounding.

    Args:
        packed: R augmentations from :func:`pack`, on the images' device.
        images: uint8, or float32 in [0, 1], [N,3,H,W], N a multiple of R.

    Returns:
        float32 [N,3,H,W] in [0, 1].
    """
    height, width = images.shape[-2:]
    widths = (height, width, _MATRICES, _MATRICES, _POSITIONS, 1)
    kernel_size = packed.shape[1] - sum(widths)
    with torch.autocast(images.device.type, enabled=False):
        y, x, *rest = torch.split(packed, [*widths, kernel_size], 1)
        images = resample(images, y, x)
        times = len(images) // len(packed)
        rest = [part.repeat_interleave(times, 0) for part in rest]
        of_pixel, of_mean, shift, gray, kernel = rest
        images = _jitter(images, _by_position(of_pixel), _by_position(of_mean), shift)
        images = torch.where(_is_nonzero(gray), to_gray(images), images)
        return convolve(images, kernel)


def _kernel(table: AugmentationTable) -> Tensor:
    """Compute the blur's weights [R,kernel_size]; without a blur they keep each pixel exactly."""
    size = table.kernel_size
    identity = torch.zeros(size).index_fill_(0, torch.tensor(size // 2), 1)
    blurred = table.sigma > 0
    kernel = gaussian_kernel(torch.where(blurred, table.sigma, 1), size)
    return torch.where(blurred[:, None], kernel, identity)


def _by_position(matrices: Tensor) -> Tensor:
    """Reshape matrices [N,27] to [3,N,3,3]."""
    return matrices.view(-1, _POSITIONS - 1, 3, 3).transpose(0, 1)


def _jitter(images: Tensor, of_pixel: Tensor, of_mean: Tensor, shift: Tensor) -> Tensor:
    for position in range(_POSITIONS):
        turn = shift[:, position]
        images = torch.where(_is_nonzero(turn), adjust_hue(images, turn), images)
        if position < HUE:
            images = blend(images, of_pixel[position], of_mean[position])
    return images


def _is_nonzero(values: Tensor) -> Tensor:
    """Compare one value per image [N] with 0, as a mask [N,1,1,1]."""
    return (values != 0).view(-1, 1, 1, 1)
