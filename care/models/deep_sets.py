"""DeepSets (arXiv 1703.06114): an encoder of point clouds, invariant to the points' order."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_WIDTH = 128


class DeepSetsEncoder(nn.Module):
    """Encodes each point with one small network, pools by mean and maximum, encodes the result.

    The paper does not give layers or widths (docs/paper.md §7); chosen here [A].

    Attributes:
        feature_dim: Width of the output, 128.
    """

    feature_dim: int = _WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.point = nn.Sequential(
            nn.Linear(3, _WIDTH), nn.ReLU(inplace=True), nn.Linear(_WIDTH, _WIDTH)
        )
        self.set = nn.Sequential(
            nn.Linear(2 * _WIDTH, _WIDTH), nn.ReLU(inplace=True), nn.Linear(_WIDTH, _WIDTH)
        )

    def forward(self, points: Tensor) -> Tensor:
        """Map clouds [N,P,4] to features [N,feature_dim].

        Args:
            points: x, y, z and a mask, 1 for a point and 0 for padding; each cloud has a point.
        """
        mask = points[..., 3:]
        codes = self.point(points[..., :3])
        mean = (codes * mask).sum(1) / mask.sum(1)
        maximum = codes.masked_fill(mask == 0, -torch.inf).amax(1)
        features: Tensor = self.set(torch.cat([mean, maximum], dim=1))
        return features


def deep_sets_encoder() -> DeepSetsEncoder:
    """Build the encoder ``deep_sets``."""
    return DeepSetsEncoder()
