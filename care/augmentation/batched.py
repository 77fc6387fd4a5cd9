"""The same augmentations by the same operations whatever the table says, as a CUDA graph wants.

:mod:`care.augmentation.apply` picks the images that an operation is for, which is quick on a CPU.
Here every operation works on all images and leaves those alone that it is not for, so that a table
is nothing but a matrix of numbers. A GPU does that quickly: launching kernels is what takes time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from care.augmentation.blur import convolve, gaussian_kernel
from care.augmentation.color import adjust_hue, blend, blends, to_gray
from care.augmentation.crop import resample, sources
from care.augmentation.parameters import HUE, NEUTRAL, AugmentationTable

_PLACES = 4  # of the jitter's operations
_MATRICES = (_PLACES - 1) * 9


def pack(table: AugmentationTable) -> Tensor:
    """Everything that :func:`augment_packed` needs to know, float32 [R,P] on the CPU."""
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
    """What :func:`care.augmentation.apply.augment` makes, but for rounding.

    Args:
        packed: R augmentations of images of this size, see :func:`pack`, on the images' device.
        images: uint8, or float32 in [0, 1], [N,3,H,W], N a multiple of R.

    Returns:
        float32 [N,3,H,W] in [0, 1].
    """
    height, width = images.shape[-2:]
    before = (height, width, _MATRICES, _MATRICES, _PLACES, 1)
    kernel_size = packed.shape[1] - sum(before)
    with torch.autocast(images.device.type, enabled=False):
        y, x, *rest = torch.split(packed, [*before, kernel_size], 1)
        images = resample(images, y, x)
        times = len(images) // len(packed)
        rest = [part.repeat_interleave(times, 0) for part in rest]
        of_pixel, of_mean, shift, gray, kernel = rest
        images = _jitter(images, _by_place(of_pixel), _by_place(of_mean), shift)
        images = torch.where(_is(gray), to_gray(images), images)
        return convolve(images, kernel)


def _kernel(table: AugmentationTable) -> Tensor:
    """The blur's weights [R,kernel_size]; those of no blur keep a pixel to the last bit."""
    size = table.kernel_size
    none = torch.zeros(size).index_fill_(0, torch.tensor(size // 2), 1)
    blurred = table.sigma > 0
    kernel = gaussian_kernel(torch.where(blurred, table.sigma, 1), size)
    return torch.where(blurred[:, None], kernel, none)


def _by_place(matrices: Tensor) -> Tensor:
    """Matrices [N,27] as [3,N,3,3]."""
    return matrices.view(-1, _PLACES - 1, 3, 3).transpose(0, 1)


def _jitter(images: Tensor, of_pixel: Tensor, of_mean: Tensor, shift: Tensor) -> Tensor:
    for place in range(_PLACES):
        turn = shift[:, place]
        images = torch.where(_is(turn), adjust_hue(images, turn), images)
        if place < HUE:
            images = blend(images, of_pixel[place], of_mean[place])
    return images


def _is(values: Tensor) -> Tensor:
    """Which images [N,1,1,1] have a value other than 0."""
    return (values != 0).view(-1, 1, 1, 1)
