"""DeepSets (arXiv 1703.06114): an encoder of point clouds that knows no order of the points."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_WIDTH = 128


class DeepSetsEncoder(nn.Module):
    """The same small network on each point, mean and maximum over the points, another network.

    The paper does not give layers or widths (docs/paper.md §7); these are ours [A].

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
            points: x, y, z, and 1 for a point that is there or 0 for padding; each cloud has one
                point or more.
        """
        there = points[..., 3:]
        each = self.point(points[..., :3])
        mean = (each * there).sum(1) / there.sum(1)
        most = each.masked_fill(there == 0, -torch.inf).amax(1)
        features: Tensor = self.set(torch.cat([mean, most], dim=1))
        return features


def deep_sets_encoder() -> DeepSetsEncoder:
    """The encoder called ``deep_sets``."""
    return DeepSetsEncoder()
