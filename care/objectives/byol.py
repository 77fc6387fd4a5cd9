"""BYOL (arXiv 2006.07733): predict the target network's embedding of the other view."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from care.config import ByolConfig
from care.models import Network
from care.models.init import seeded
from care.objectives.base import BaseLoss, BaseObjective
from care.objectives.full_precision import full_precision
from care.objectives.momentum_encoder import MomentumNetwork
from care.objectives.view import View


@full_precision
def byol_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Average 2 - 2 cos(prediction, target), the squared distance on the unit sphere.

    One direction of the loss of arXiv 2006.07733, Eq. 2; BYOL adds both.

    Args:
        predictions: Predicted projections [N,d], of any norm.
        targets: Projections of the other views by the target network, [N,d], of any norm.

    Returns:
        A scalar in [0, 4].

    Example:
        >>> p = torch.eye(2)
        >>> round(byol_loss(p, -3 * p).item(), 4)
        4.0
    """
    return 2 - 2 * fn.cosine_similarity(predictions, targets, dim=1).mean()


class BYOL(BaseObjective[ByolConfig]):
    """The loss of both directions, summed; the target follows ever more slowly.

    Attributes:
        target: The target network.
        predictor: Linear without bias, BatchNorm, ReLU, Linear, on the projection.
    """

    def __init__(self, config: ByolConfig, network: Network, seed: int) -> None:
        super().__init__(config, network, seed)
        self.target = MomentumNetwork(network)
        dimension = network.embedding_dim
        with seeded(seed, "predictor"):
            self.predictor = nn.Sequential(
                nn.Linear(dimension, config.hidden, bias=False),
                nn.BatchNorm1d(config.hidden),
                nn.ReLU(inplace=True),
                nn.Linear(config.hidden, dimension),
            )

    def forward(self, first: View, second: View) -> BaseLoss:
        """Predict each view's target projection from the other view."""
        with torch.no_grad():
            target1, target2 = (
                view.embed_by(self.target.network).projection for view in (first, second)
            )
        predicted2 = self.predictor(first.embedding.projection)
        predicted1 = self.predictor(second.embedding.projection)
        loss = byol_loss(predicted2, target2) + byol_loss(predicted1, target1)
        positives = (first.embedding.sphere, second.embedding.sphere)
        return BaseLoss(loss, {"byol": loss}, positives)

    def after_step(self, network: Network, progress: float) -> None:
        """Update the target with momentum 1 - (1 - m) (cos(π · progress) + 1) / 2."""
        rising = 1 - (1 - self.config.momentum) * (math.cos(math.pi * progress) + 1) / 2
        self.target.follow(network, rising)
