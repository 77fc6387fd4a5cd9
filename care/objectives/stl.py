"""STL (arXiv 2501.08712): predict an embedding by an augmentation that other images show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as fn

from care.augmentation import AugmentationTable, Augmenter
from care.config import StlConfig
from care.data.shared_batches import Batch
from care.distributed.group import Group
from care.models import Network
from care.models.init import seeded
from care.objectives.base import BaseLoss, BaseObjective, weighted_sum
from care.objectives.hypernetwork import Hypernetwork
from care.objectives.infonce import infonce
from care.objectives.inputs import ViewSpec
from care.objectives.mlp import mlp
from care.objectives.view import View


@dataclass(frozen=True)
class PairedViewSpec(ViewSpec):
    """A view in which images 2i and 2i + 1 share crop, color jitter and grayscale.

    Flip and blur are each image's own, as in the authors' code.
    """

    def table(self, batch: Batch, augmenter: Augmenter[Any], group: Group) -> AugmentationTable:
        """Draw the augmentations of the whole batch, once a step."""
        if self not in batch.tables:
            single = ViewSpec(self.name).table(batch, augmenter, group)
            batch.tables[self] = pair_rows(cast("AugmentationTable", single))
        table: AugmentationTable = batch.tables[self]
        return table


def pair_rows(table: AugmentationTable) -> AugmentationTable:
    """Give every odd row the crop, color jitter and grayscale of the row before it."""
    leader = torch.arange(len(table)) // 2 * 2
    leading = table.rows(leader)
    return replace(
        table, crop=leading.crop, jitter=leading.jitter, order=leading.order, gray=leading.gray
    )


class STL(BaseObjective[StlConfig]):
    """Three times InfoNCE: of views, of predictions, of transformations.

    Attributes:
        transformation: From both views' features to a representation of their transformation.
        predictor: From one view's features and a transformation to the other's features.
        equivariant_head: From features to the embeddings whose prediction is compared.
        transformation_head: From transformations to the embeddings that are compared.
    """

    def __init__(self, config: StlConfig, network: Network, seed: int) -> None:
        super().__init__(config, network, seed)
        features, width = network.feature_dim, config.width
        with seeded(seed, "stl"):
            self.transformation = mlp(2 * features, width, width, bias=False)
            self.predictor = Hypernetwork(features, width, bias=False)
            self.equivariant_head = mlp(features, config.hidden, config.output, bias=False)
            self.transformation_head = mlp(width, width, width, bias=False)

    def view_specs(self) -> tuple[ViewSpec, ...]:
        """Declare two views in which each two images share a transformation."""
        return PairedViewSpec("view-1"), PairedViewSpec("view-2")

    def forward(self, first: View, second: View) -> BaseLoss:
        """Compute the three terms; each transformation is taken from the other image of a pair."""
        y1, y2 = first.embedding.features, second.embedding.features
        there = self.transformation(torch.cat([y1, y2], dim=1))
        back = self.transformation(torch.cat([y2, y1], dim=1))
        predicted = (
            self.predictor(y2, _swap_pairs(back)),
            self.predictor(y1, _swap_pairs(there)),
        )
        z1, z2, *z_predicted = map(self.equivariant_head, (y1, y2, *predicted))
        even, odd = (
            self.transformation_head(torch.cat([there[start::2], back[start::2]]))
            for start in (0, 1)
        )
        spheres = first.embedding.sphere, second.embedding.sphere
        terms = {
            "invariance": self._contrast(*spheres),
            "prediction": self._contrast(torch.cat([z1, z2]), torch.cat(z_predicted)),
            "transformation": self._contrast(even, odd),
        }
        return BaseLoss(weighted_sum(terms, self.config.weights), terms, spheres)

    def _contrast(self, one: Tensor, two: Tensor) -> Tensor:
        one, two = fn.normalize(one, dim=1), fn.normalize(two, dim=1)
        return infonce(one, two, self.config.temperature)


def _swap_pairs(rows: Tensor) -> Tensor:
    """Swap rows 2i and 2i + 1 of [N,d], N even."""
    return rows.view(-1, 2, rows.shape[1]).flip(1).flatten(0, 1)
