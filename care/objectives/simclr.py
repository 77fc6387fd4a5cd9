"""SimCLR (arXiv 2002.05709): InfoNCE between the views of an image."""

from __future__ import annotations

from itertools import combinations

import torch

from care.config import SimclrConfig
from care.models import Network
from care.objectives.base import BaseLoss, BaseObjective
from care.objectives.infonce import infonce
from care.objectives.view import View


class SimCLR(BaseObjective[SimclrConfig]):
    """InfoNCE between two views; between four, its mean over their six pairs.

    Four views cost the four forward passes of CARE, so that the two are compared at equal compute.
    """

    def __init__(self, config: SimclrConfig, network: Network, seed: int) -> None:
        super().__init__(config, network, seed)
        self.views = config.views

    def forward(self, *views: View) -> BaseLoss:
        """Average InfoNCE over the pairs of views."""
        pairs = list(combinations([view.embedding.sphere for view in views], 2))
        losses = [infonce(z1, z2, self.config.temperature) for z1, z2 in pairs]
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
        return BaseLoss(loss, {"infonce": loss}, pairs[0])
