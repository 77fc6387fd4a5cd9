"""The single terms of the loss ablation (Figs 10-16), as objectives of their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from care.config import AlignmentConfig, NoBaseConfig, UniformityConfig
from care.objectives.alignment import alignment, negatives_energy, positive_cosine, uniformity
from care.objectives.base import BaseLoss, BaseObjective
from care.objectives.inputs import View


class AlignmentOnly(BaseObjective[AlignmentConfig]):
    """L_inv alone: nothing keeps the embeddings apart."""

    def forward(self, views: Sequence[View]) -> BaseLoss:
        """See :class:`BaseObjective`."""
        z1, z2 = (view.embedding.sphere for view in views)
        if self.config.form == "printed":
            loss = alignment(z1, z2)
        else:
            loss = -positive_cosine(z1, z2) / self.config.temperature
        return BaseLoss(loss, {"alignment": loss}, (z1, z2))


class UniformityOnly(BaseObjective[UniformityConfig]):
    """L_unif alone: nothing brings the views of an image together.

    The printed form is a mean over the two views; it never compares one with the other.
    """

    def forward(self, views: Sequence[View]) -> BaseLoss:
        """See :class:`BaseObjective`."""
        z1, z2 = (view.embedding.sphere for view in views)
        if self.config.form == "printed":
            loss = (uniformity(z1) + uniformity(z2)) / 2
        else:
            loss = negatives_energy(z1, z2, self.config.temperature)
        return BaseLoss(loss, {"uniformity": loss}, (z1, z2))


class NoBase(BaseObjective[NoBaseConfig]):
    """No loss and no views: what is added to it is alone."""

    views = 0

    def forward(self, views: Sequence[View]) -> BaseLoss:
        """See :class:`BaseObjective`."""
        return BaseLoss(torch.zeros(()), {}, None)
