"""Crop, resize and flip as two matrix products.

Antialiased bilinear resizing is separable: an output row is a weighted sum of input rows, and so
are columns. The weights of a crop are those of its window, placed; a flip reverses the columns'.
"""

from __future__ import annotations

import torch
from torch import Tensor


def resize_weights(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Weights that resize pixels start … start + length - 1 of a line to the line's own size.

    Those of ``torchvision``'s bilinear resize with antialiasing: a triangle of half-width
    max(1, length / size), cut at the window's ends and normalized.

    Args:
        start: First pixel of each window, int64 [R].
        length: Its pixels, int64 [R].
        size: Pixels of the line.

    Returns:
        float32 [R,size,size], output pixels by input pixels; each row sums to 1.
    """
    start, length = start.double()[:, None, None], length.double()[:, None, None]
    positions = torch.arange(size, dtype=torch.float64)
    scale = length / size
    support = scale.clamp(min=1)
    center = start + (positions[:, None] + 0.5) * scale
    weights = (1 - (positions + 0.5 - center).abs() / support).clamp(min=0)
    inside = (positions >= start) & (positions < start + length)
    weights = weights * inside
    return (weights / weights.sum(2, keepdim=True)).float()


def crop(images: Tensor, windows: Tensor, flip: Tensor) -> Tensor:
    """Crop each row's images to its window, resize to the full size, and flip where asked.

    Args:
        images: float [R,m,3,H,W].
        windows: top, left, height, width, int64 [R,4] on the CPU.
        flip: bool [R] on the CPU.
    """
    rows, m, channels, height, width = images.shape
    vertical = resize_weights(windows[:, 0], windows[:, 2], height)
    horizontal = resize_weights(windows[:, 1], windows[:, 3], width)
    horizontal = torch.where(flip[:, None, None], horizontal.flip(1), horizontal)
    device = images.device
    lines = images.reshape(rows, m * channels * height, width)
    lines = lines @ horizontal.mT.to(device)
    lines = lines.view(rows * m * channels, height, width)
    vertical = vertical.to(device).repeat_interleave(m * channels, 0)
    return (vertical @ lines).view(images.shape)
