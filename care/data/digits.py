"""The 1,797 handwritten digits of scikit-learn, each tinted with its own hue.

The hue is a function of the image's index, independent of the class. Class and hue are both known,
so evaluation can measure whether a representation keeps color.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as fn

from care.config import DataConfig
from care.data.dataset import Dataset, ImageSet
from care.data.fingerprints.sources import find_digits
from care.system.rng import generator

_SIDE = 16
_TRAIN = 1437
_GOLDEN = (math.sqrt(5) - 1) / 2


def load_digits(config: DataConfig, root: Path) -> Dataset:  # noqa: ARG001 - in scikit-learn
    """Load digits as 16×16 RGB: 1,437 training and 360 test images, one split for all seeds."""
    rows = torch.from_numpy(np.loadtxt(find_digits(), delimiter=","))
    gray = rows[:, :-1].reshape(-1, 8, 8) / 16
    hue = torch.arange(len(gray), dtype=torch.float64) * _GOLDEN % 1
    images = (_tint(_resize(gray), hue) * 255).round().to(torch.uint8)
    labels = rows[:, -1].long()
    train, test = _split(labels)
    parts = [ImageSet(images[i], labels[i], {"hue": hue[i].float()}) for i in (train, test)]
    pixels = parts[0].images.double() / 255
    mean, std = pixels.mean((0, 2, 3)).tolist(), pixels.std((0, 2, 3), correction=0).tolist()
    return Dataset("digits", parts[0], parts[1], tuple("0123456789"), tuple(mean), tuple(std))


def _resize(gray: Tensor) -> Tensor:
    """Resize intensities in [0, 1] from [N,8,8] to [N,side,side]."""
    return fn.interpolate(gray[:, None], size=(_SIDE, _SIDE), mode="bilinear")[:, 0].clamp(0, 1)


def _tint(intensity: Tensor, hue: Tensor) -> Tensor:
    """Convert HSV with full saturation and value = intensity to RGB in [0, 1], [N,3,H,W]."""
    offsets = torch.tensor([5.0, 3.0, 1.0], dtype=hue.dtype)
    k = (offsets + hue[:, None] * 6) % 6
    color = 1 - torch.minimum(k, 4 - k).clamp(0, 1)
    return intensity[:, None] * color[:, :, None, None]


def _split(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return fixed training and test indices with equal class shares, up to one image."""
    order = torch.from_numpy(generator(0, "digits-split").permutation(len(labels)))
    by_class = order[labels[order].argsort(stable=True)]
    position = torch.linspace(0, len(labels) - 1, len(labels) - _TRAIN).round().long()
    test = torch.zeros(len(labels), dtype=torch.bool)
    test[by_class[position]] = True
    return (~test).nonzero().flatten(), test.nonzero().flatten()
