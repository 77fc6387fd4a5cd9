"""Gaussian blur: a separable kernel, the image reflected at its borders, as torchvision's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as fn


def gaussian_kernel(sigma: Tensor, size: int) -> Tensor:
    """Weights of each row's kernel, float [R,size], summing to 1."""
    offsets = torch.arange(size, dtype=sigma.dtype) - (size - 1) / 2
    weights = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    return weights / weights.sum(1, keepdim=True)


def blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur each row's images.

    Args:
        images: float [R,m,3,H,W].
        sigma: Standard deviation in pixels, > 0, float [R] on the CPU.
        kernel_size: Odd, at most 2·min(H, W) - 1.
    """
    rows, m, channels, height, width = images.shape
    reach = kernel_size // 2
    kernel = gaussian_kernel(sigma, kernel_size).to(images.device)
    padded = fn.pad(images.reshape(rows * m, channels, height, width), [reach] * 4, mode="reflect")
    padded = padded.view(rows, m, channels, height + 2 * reach, width + 2 * reach)
    weights = kernel.view(rows, kernel_size, 1, 1, 1, 1).unbind(1)
    lines = sum(w * padded[..., k : k + height, :] for k, w in enumerate(weights))
    assert isinstance(lines, Tensor)
    result = sum(w * lines[..., k : k + width] for k, w in enumerate(weights))
    assert isinstance(result, Tensor)
    return result
