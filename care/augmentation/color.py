"""Color operations on float images in [0, 1], equal to torchvision's.

Brightness, contrast and saturation are each a matrix on a pixel's RGB, for contrast another one on
the image's mean RGB, and a clamp. So the n-th of the three is one batched product over all images,
whichever operation it is for each of them; only the hue is turned apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

from care.augmentation.constants import constant
from care.augmentation.parameters import CONTRAST, HUE, NEUTRAL, SATURATION

_LUMA = (0.2989, 0.587, 0.114)
_PEAKS = (0.0, 1 / 3, 2 / 3)  # hues of red, green and blue


def to_gray(images: Tensor) -> Tensor:
    """Luma of RGB images [N,3,H,W], as three equal channels."""
    red, green, blue = images.unbind(1)
    luma = (red * _LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])
    return luma.unsqueeze(1).expand_as(images)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue, keeping HSV's saturation and value.

    On the hexagon of hues a channel has its full value up to a sixth of a turn from its own hue and
    falls to value - chroma at a third, so the way back to RGB needs no cases. Nor does the way
    there: the distance from red is (value - R + G + B - 2 min) / chroma sixths of a turn, to the
    side that the sign of G - B tells.

    Args:
        images: float32 [N,3,H,W].
        shift: In turns of the circle, float32 [N], on the same device.
    """
    red, green, blue = images.unbind(1)
    value, low = images.amax(1), images.amin(1)
    chroma = value - low
    sixths = (value - red).add_(green).add_(blue).sub_(low, alpha=2)
    # Without chroma the hue is 0 / tiny, and does not matter.
    hue = sixths.div_((6 * chroma).clamp_min_(torch.finfo(chroma.dtype).tiny))
    hue = hue.copysign_(green - blue)
    peaks = constant(_PEAKS, images.device)
    distance = hue.unsqueeze(1) + (shift.unsqueeze(1) - peaks)[:, :, None, None]
    distance = distance.sub_(distance.round()).abs_().clamp_(1 / 6, 1 / 3)
    return torch.addcmul((value + chroma).unsqueeze(1), distance, chroma.unsqueeze(1), value=-6)


def jitter(images: Tensor, parameters: Tensor, order: Tensor) -> Tensor:
    """Each image's four operations in its own order.

    Args:
        images: float32 [N,3,H,W]; may be changed in place.
        parameters: As in the table, float32 [N,4] on the CPU.
        order: Likewise, int64 [N,4].
    """
    neutral = parameters == torch.tensor(NEUTRAL)
    blended = not bool(neutral[:, :HUE].all())
    if blended:
        of_pixel, of_mean = (
            matrices.to(images.device, non_blocking=True) for matrices in blends(parameters, order)
        )
    turned = (order == HUE) & ~neutral[:, HUE:]
    for place in range(4):
        rows = turned[:, place].nonzero().flatten()
        if len(rows):
            shift = parameters[rows, HUE].to(images.device, non_blocking=True)
            rows = rows.to(images.device, non_blocking=True)
            images.index_copy_(0, rows, adjust_hue(images.index_select(0, rows), shift))
        if blended and place < HUE:
            images = blend(images, of_pixel[place], of_mean[place])
    return images


def blends(parameters: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices on each pixel and on the mean pixel, float32 [3,N,3,3] each.

    The first axis counts each image's operations other than the hue, in its order.
    """
    operations = order[order != HUE].view(-1, HUE).T
    factors = parameters.T.gather(0, operations)
    rest = 1 - factors
    same = torch.eye(3).flatten()
    gray = torch.tensor(_LUMA).repeat(3)  # to three equal channels
    of_pixel = factors.unsqueeze(2) * same
    of_pixel += torch.where(operations == SATURATION, rest, 0).unsqueeze(2) * gray
    of_mean = torch.where(operations == CONTRAST, rest, 0).unsqueeze(2) * gray
    return of_pixel.view(3, -1, 3, 3), of_mean.view(3, -1, 3, 3)


def blend(images: Tensor, of_pixel: Tensor, of_mean: Tensor) -> Tensor:
    """Apply matrices [N,3,3] to each pixel and to the mean pixel, and clamp."""
    pixels = images.flatten(2)
    offset = torch.bmm(of_mean, pixels.mean(2, keepdim=True))
    return torch.baddbmm(offset, of_pixel, pixels).clamp_(0, 1).view(images.shape)
