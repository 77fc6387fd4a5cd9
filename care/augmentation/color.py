"""Color operations on float images in [0, 1], the channels in dimension -3, as torchvision's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from care.augmentation.table import BRIGHTNESS, CONTRAST, HUE, SATURATION


def to_gray(images: Tensor) -> Tensor:
    """Luma of RGB, one channel."""
    red, green, blue = images.unbind(-3)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).unsqueeze(-3)


def _blend(images: Tensor, other: Tensor | float, factor: Tensor) -> Tensor:
    return (images * factor + other * (1 - factor)).clamp(0, 1)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black."""
    return (images * factor).clamp(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean luma."""
    return _blend(images, to_gray(images).mean((-3, -2, -1), keepdim=True), factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's luma."""
    return _blend(images, to_gray(images), factor)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by ``shift`` of the circle, keeping HSV's saturation and value.

    A color is value - chroma · ramp(hue), with one ramp for the three channels at offsets of a
    third of the circle; so the way back to RGB needs no table of cases.
    """
    value, low = images.amax(-3), images.amin(-3)
    chroma = value - low
    hue = _hue(images, value, chroma) + shift.squeeze(-3) * 6
    offsets = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(3, 1, 1)
    k = (hue.unsqueeze(-3) + offsets) % 6
    ramp = torch.minimum(k, 4 - k).clamp(0, 1)
    return value.unsqueeze(-3) - chroma.unsqueeze(-3) * ramp


def _hue(images: Tensor, value: Tensor, chroma: Tensor) -> Tensor:
    """Hue in sixths of the circle."""
    red, green, blue = images.unbind(-3)
    safe = torch.where(chroma > 0, chroma, 1)
    from_green = 2 + (blue - red) / safe
    from_blue = 4 + (red - green) / safe
    hue = torch.where(value == green, from_green, from_blue)
    return torch.where(value == red, (green - blue) / safe, hue)


_OPERATIONS: dict[int, Callable[[Tensor, Tensor], Tensor]] = {
    BRIGHTNESS: adjust_brightness,
    CONTRAST: adjust_contrast,
    SATURATION: adjust_saturation,
    HUE: adjust_hue,
}


def jitter(images: Tensor, parameters: Tensor, order: Tensor) -> Tensor:
    """Each row's four operations in its own order.

    Args:
        images: float [R,m,3,H,W]; changed in place.
        parameters: As in the table, float32 [R,4] on the CPU.
        order: Likewise, int64 [R,4].
    """
    for place in range(4):
        for operation, function in _OPERATIONS.items():
            rows = (order[:, place] == operation).nonzero().flatten()
            if len(rows):
                factor = parameters[rows, operation].view(-1, 1, 1, 1, 1).to(images.device)
                rows = rows.to(images.device)
                images[rows] = function(images[rows], factor)
    return images
