"""The single terms of the loss ablation (Figs 10-16), as objectives of their own."""

from __future__ import annotations

import torch

from care.config import AlignmentConfig, NoBaseConfig, UniformityConfig
from care.objectives.alignment import alignment, negatives_energy, positive_cosine, uniformity
from care.objectives.base import BaseLoss, BaseObjective
from care.objectives.view import View


class AlignmentOnly(BaseObjective[AlignmentConfig]):
    """L_inv alone: nothing keeps the embeddings apart."""

    def forward(self, first: View, second: View) -> BaseLoss:
        """Compute L_inv, or the mean cosine that the authors' code calls so."""
        z1, z2 = first.embedding.sphere, second.embedding.sphere
        if self.config.form == "printed":
            loss = alignment(z1, z2)
        else:
            loss = -positive_cosine(z1, z2) / self.config.temperature
        return BaseLoss(loss, {"alignment": loss}, (z1, z2))


class UniformityOnly(BaseObjective[UniformityConfig]):
    """L_unif alone: nothing brings the views of an image together.

    The printed form is a mean over the two views; it never compares one with the other.
    """

    def forward(self, first: View, second: View) -> BaseLoss:
        """Compute L_unif, or the part of InfoNCE that the authors' code calls so."""
        z1, z2 = first.embedding.sphere, second.embedding.sphere
        if self.config.form == "printed":
            loss = (uniformity(z1) + uniformity(z2)) / 2
        else:
            loss = negatives_energy(z1, z2, self.config.temperature)
        return BaseLoss(loss, {"uniformity": loss}, (z1, z2))


class NoBase(BaseObjective[NoBaseConfig]):
    """No loss and no views, for L_equi alone."""

    views = 0

    def forward(self, *_: View) -> BaseLoss:
        """Return a loss of 0."""
        return BaseLoss(torch.zeros(()), {}, None)
