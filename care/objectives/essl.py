"""E-SSL (arXiv 2111.00899): SimCLR, and predict by which quarter turn an image was rotated."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from care.config import EsslConfig
from care.models import Network
from care.models.init import seeded
from care.objectives.base import BaseLoss, BaseObjective, weighted_sum
from care.objectives.full_precision import full_precision
from care.objectives.infonce import infonce
from care.objectives.view import View

TURNS = 4


@full_precision
def rotation_loss(logits: Tensor) -> Tensor:
    """Average the cross-entropy of each rotated image's quarter turn.

    Args:
        logits: Of 0, 1, 2 and 3 quarter turns, [4·N,4]; row 4·i + k is image i after k turns.

    Returns:
        A scalar >= 0; log 4 for predictions by chance.

    Example:
        >>> round(rotation_loss(torch.zeros(8, 4)).item(), 4)
        1.3863
    """
    turns = torch.arange(TURNS, device=logits.device).repeat(len(logits) // TURNS)
    return fn.cross_entropy(logits, turns)


def quarter_turns(images: Tensor) -> Tensor:
    """Rotate square images [N,3,H,H] by 0, 90, 180 and 270 degrees, image by image: [4·N,3,H,H]."""
    turned = [torch.rot90(images, turn, (2, 3)) for turn in range(TURNS)]
    return torch.stack(turned, dim=1).flatten(0, 1)


class ESSL(BaseObjective[EsslConfig]):
    """InfoNCE of two views, and the rotation prediction of a third one.

    Attributes:
        predictor: From features to logits of the four turns; three layers with LayerNorm.
    """

    views = 3

    def __init__(self, config: EsslConfig, network: Network, seed: int) -> None:
        super().__init__(config, network, seed)
        hidden = config.hidden
        with seeded(seed, "essl"):
            self.predictor = nn.Sequential(
                *(nn.Linear(network.feature_dim, hidden), nn.LayerNorm(hidden), nn.ReLU()),
                *(nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.ReLU()),
                nn.Linear(hidden, TURNS),
            )

    def forward(self, first: View, second: View, turned: View) -> BaseLoss:
        """Compare two views, and predict the turns of the third."""
        one, two = first.embedding.sphere, second.embedding.sphere
        images = turned.inputs
        if self.config.rotated == "half":
            images = fn.avg_pool2d(images, 2)
        logits = self.predictor(turned.features_of(quarter_turns(images)))
        terms = {
            "infonce": infonce(one, two, self.config.temperature),
            "rotation": rotation_loss(logits),
        }
        return BaseLoss(weighted_sum(terms, self.config.weights), terms, (one, two))
