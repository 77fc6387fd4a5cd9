"""Blur images with a separable Gaussian kernel and reflected borders, like torchvision."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as fn


def gaussian_kernel(sigma: Tensor, size: int) -> Tensor:
    """Compute kernels from σ [N] in pixels: weights that sum to 1, float [N,size]."""
    offsets = torch.arange(size, dtype=sigma.dtype) - (size - 1) / 2
    return torch.softmax(-0.5 * (offsets / sigma[:, None]) ** 2, 1)


def blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur each image.

    Args:
        images: float [N,3,H,W].
        sigma: Standard deviation in pixels, > 0, float [N] on the CPU.
        kernel_size: Odd, at most 2·min(H, W) - 1.
    """
    kernel = gaussian_kernel(sigma, kernel_size).to(images.device, non_blocking=True)
    return convolve(images, kernel)


def convolve(images: Tensor, kernel: Tensor) -> Tensor:
    """Convolve each image [3,H,W] vertically and then horizontally with its kernel.

    Args:
        images: float [N,3,H,W].
        kernel: float32 [N,size], on the images' device.
    """
    height, width = images.shape[-2:]
    kernel_size = kernel.shape[1]
    padded = fn.pad(images, [kernel_size // 2] * 4, mode="reflect")
    weights = kernel.view(-1, kernel_size, 1, 1, 1).unbind(1)
    lines = padded[..., :height, :] * weights[0]
    for k in range(1, kernel_size):
        lines.addcmul_(padded[..., k : k + height, :], weights[k])
    result = lines[..., :width] * weights[0]
    for k in range(1, kernel_size):
        result.addcmul_(lines[..., k : k + width], weights[k])
    return result
