"""Crop, resize and flip images by two matrix products.

Bilinear resizing is separable: an output row is a weighted sum of input rows, and so are columns.
A window is never larger than the output, where antialiasing has no effect. So each output pixel has
two weights, and border pixels of the window extend outwards.
"""

from __future__ import annotations

import torch
from torch import Tensor


def crop(images: Tensor, windows: Tensor, flip: Tensor) -> Tensor:
    """Crop each row's images to its window, resize them to full size, and flip some.

    Equals torchvision's ``resized_crop`` (bilinear, antialias) and ``horizontal_flip`` on images
    scaled to [0, 1].

    Args:
        images: uint8, or float32 in [0, 1], [N,3,H,W], N a multiple of R.
        windows: top, left, height, width, int64 [R,4] on the CPU.
        flip: bool [R] on the CPU.

    Returns:
        float32 [N,3,H,W] in [0, 1].
    """
    y, x = sources(windows, flip, (images.shape[-2], images.shape[-1]))
    return resample(
        images,
        y.to(images.device, non_blocking=True),
        x.to(images.device, non_blocking=True),
    )


def sources(windows: Tensor, flip: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Compute the source positions of output rows and columns, float32 [R,H] and [R,W].

    Args:
        windows: top, left, height, width, int64 [R,4] on the CPU.
        flip: bool [R] on the CPU.
        size: Height and width of the images in pixels.
    """
    height, width = size
    top, left, window_height, window_width = windows.unsqueeze(2).unbind(1)
    columns = torch.arange(width).expand(len(windows), width)
    columns = torch.where(flip.unsqueeze(1), columns.flip(1), columns)
    y = _sources(top, window_height, torch.arange(height))
    return y, _sources(left, window_width, columns)


def resample(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Interpolate each row's images at the positions y [R,H] and x [R,W], on their device."""
    height, width = images.shape[-2:]
    rows, planes = len(y), images.shape[:2].numel() // len(y)
    lines = images.to(torch.float32).reshape(rows, planes * height, width)
    lines = torch.bmm(lines, _weights(x, width).mT).view(rows, planes, height, width)
    vertical = _weights(y, height)
    if images.dtype == torch.uint8:
        vertical = vertical.div_(255)
    return torch.matmul(vertical.unsqueeze(1), lines).view(images.shape)


def _sources(start: Tensor, length: Tensor, outputs: Tensor) -> Tensor:
    """Compute the source positions of output pixels along one axis.

    Args:
        start: First pixel of each window, int64 [R,1].
        length: Number of pixels of each window, int64 [R,1].
        outputs: Output pixels, int64 [size] or [R,size].

    Returns:
        float32 [R,size] in pixels; integers are pixel centers.
    """
    scale = length.double() / outputs.shape[-1]
    inside = torch.minimum(((outputs + 0.5) * scale - 0.5).clamp_min(0), length - 1)
    return (start + inside).float()


def _weights(sources: Tensor, size: int) -> Tensor:
    """Compute the weights of linear interpolation at ``sources`` [R,O] of ``size`` pixels.

    Returns:
        Weights [R,O,size].
    """
    pixels = torch.arange(size, dtype=sources.dtype, device=sources.device)
    return (sources.unsqueeze(2) - pixels).abs_().neg_().add_(1).clamp_min_(0)
