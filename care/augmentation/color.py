"""Adjust colors of float images in [0, 1], with torchvision's results.

Brightness, contrast and saturation are each a matrix on a pixel's RGB and a clamp; contrast adds a
matrix on the image's mean RGB. So the n-th of the three is one batched product over all images,
even if their orders differ. Only the hue is computed separately.
"""

from __future__ import annotations

import torch
from torch import Tensor

from care.augmentation.constants import constant
from care.augmentation.parameters import CONTRAST, HUE, NEUTRAL, SATURATION

_LUMA = (0.2989, 0.587, 0.114)
_PEAKS = (0.0, 1 / 3, 2 / 3)  # hues of red, green and blue


def to_gray(images: Tensor) -> Tensor:
    """Compute the luma of RGB images [N,3,H,W], as three equal channels."""
    red, green, blue = images.unbind(1)
    luma = (red * _LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])
    return luma.unsqueeze(1).expand_as(images)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Shift the hue and keep saturation and value of HSV.

    Neither conversion needs a case distinction. To HSV: the hue's distance from red is
    (value - R + G + B - 2 min) / chroma sixths of a turn, with the sign of G - B. To RGB: a channel
    equals value up to a sixth of a turn from its own hue, and falls to value - chroma at a third.

    Args:
        images: float32 [N,3,H,W].
        shift: Turns of the circle, float32 [N], on the images' device.
    """
    red, green, blue = images.unbind(1)
    value, low = images.amax(1), images.amin(1)
    chroma = value - low
    sixths = (value - red).add_(green).add_(blue).sub_(low, alpha=2)
    # Gray pixels have no chroma and hue 0 / tiny = 0, which has no effect.
    hue = sixths.div_((6 * chroma).clamp_min_(torch.finfo(chroma.dtype).tiny))
    hue = hue.copysign_(green - blue)
    peaks = constant(_PEAKS, images.device)
    distance = hue.unsqueeze(1) + (shift.unsqueeze(1) - peaks)[:, :, None, None]
    distance = distance.sub_(distance.round()).abs_().clamp_(1 / 6, 1 / 3)
    return torch.addcmul((value + chroma).unsqueeze(1), distance, chroma.unsqueeze(1), value=-6)


def jitter(images: Tensor, parameters: Tensor, order: Tensor) -> Tensor:
    """Apply brightness, contrast, saturation and hue to each image, in its own order.

    Args:
        images: float32 [N,3,H,W]; may be changed in place.
        parameters: Factors and hue shift of each image, float32 [N,4] on the CPU.
        order: Operations in the order of application, int64 [N,4] on the CPU. Both as in
            :class:`care.augmentation.parameters.AugmentationTable`.
    """
    neutral = parameters == torch.tensor(NEUTRAL)
    blended = not bool(neutral[:, :HUE].all())
    if blended:
        of_pixel, of_mean = (
            matrices.to(images.device, non_blocking=True) for matrices in blends(parameters, order)
        )
    turned = (order == HUE) & ~neutral[:, HUE:]
    for position in range(4):
        rows = turned[:, position].nonzero().flatten()
        if len(rows):
            shift = parameters[rows, HUE].to(images.device, non_blocking=True)
            rows = rows.to(images.device, non_blocking=True)
            images.index_copy_(0, rows, adjust_hue(images.index_select(0, rows), shift))
        if blended and position < HUE:
            images = blend(images, of_pixel[position], of_mean[position])
    return images


def blends(parameters: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the matrices on each pixel and on the mean pixel, float32 [3,N,3,3] each.

    The first axis is the position among an image's operations other than hue.
    """
    operations = order[order != HUE].view(-1, HUE).T
    factors = parameters.T.gather(0, operations)
    rest = 1 - factors
    identity = torch.eye(3).flatten()
    gray = torch.tensor(_LUMA).repeat(3)  # to three equal channels
    of_pixel = factors.unsqueeze(2) * identity
    of_pixel += torch.where(operations == SATURATION, rest, 0).unsqueeze(2) * gray
    of_mean = torch.where(operations == CONTRAST, rest, 0).unsqueeze(2) * gray
    return of_pixel.view(3, -1, 3, 3), of_mean.view(3, -1, 3, 3)


def blend(images: Tensor, of_pixel: Tensor, of_mean: Tensor) -> Tensor:
    """Apply matrices [N,3,3] to each pixel and to the mean pixel, add, and clamp to [0, 1]."""
    pixels = images.flatten(2)
    offset = torch.bmm(of_mean, pixels.mean(2, keepdim=True))
    return torch.baddbmm(offset, of_pixel, pixels).clamp_(0, 1).view(images.shape)
