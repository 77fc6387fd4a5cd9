"""SIE (arXiv 2302.10283): one part of a representation is invariant, the other equivariant."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from care.config import SieConfig
from care.config.equivariant import invariant_part
from care.models import Network
from care.models.init import seeded
from care.objectives.augmentation_difference import WIDTH, DifferenceSpec
from care.objectives.base import BaseLoss, BaseObjective, weighted_sum
from care.objectives.hypernetwork import Hypernetwork
from care.objectives.inputs import InputSpec, ViewSpec
from care.objectives.vicreg import mean_squared_error, missing_variance, regularizers
from care.objectives.view import View


class SIE(BaseObjective[SieConfig]):
    """VICReg, whose invariance holds for the first dimensions, and a prediction for the others.

    The first view's equivariant part and the difference of the augmentations predict the second
    view's equivariant part. Variance and covariance are those of both parts together, so that they
    share no information.

    Attributes:
        predictor: From equivariant part and difference to the other view's equivariant part.
    """

    def __init__(self, config: SieConfig, network: Network, seed: int) -> None:
        super().__init__(config, network, seed)
        split_head(network.head, config.equivariant_share)
        self._cut = invariant_part(network.embedding_dim, config.equivariant_share)
        with seeded(seed, "sie"):
            self.predictor = Hypernetwork(network.embedding_dim - self._cut, WIDTH, bias=True)

    def input_specs(self, views: Sequence[ViewSpec]) -> tuple[InputSpec, ...]:
        """Declare the difference of the views' augmentations."""
        first, second = views
        return (DifferenceSpec(first, second),)

    def forward(self, first: View, second: View, difference: Tensor) -> BaseLoss:
        """Compare the invariant parts, and predict the second view's equivariant part.

        Args:
            first: The first view.
            second: The second view of the same N samples.
            difference: Of the views' augmentations, float32 [N,11].
        """
        cut = self._cut
        one, two = first.embedding, second.embedding
        p1, p2 = one.projection, two.projection
        predicted = self.predictor(p1[:, cut:], difference.to(p1.dtype))
        terms = {
            "invariance": mean_squared_error(p1[:, :cut], p2[:, :cut]),
            "prediction": mean_squared_error(predicted, p2[:, cut:]),
            "prediction_variance": missing_variance(predicted) / 2,
            **regularizers(p1, p2),
        }
        loss = weighted_sum(terms, self.config.weights)
        return BaseLoss(loss, terms, (one.sphere, two.sphere))


def split_head(head: nn.Module, share: float) -> None:
    """Cut a projection head into two heads side by side, in place.

    The first maps the first features to the first dimensions, the second the others to the others.
    Weights between the two are 0 and stay 0, as their gradient is. So the head remains one module,
    and measures, checkpoints and exports need to know nothing of the cut.

    Args:
        head: Linear layers, with layers between them that treat each dimension alone.
        share: Part of the features, and of each layer's outputs, for the second head, in (0, 1).
    """
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            rows, columns = (invariant_part(width, share) for width in layer.weight.shape)
            width = layer.in_features
            inside = torch.zeros_like(layer.weight)
            # An initial weight is uniform within 1 / √inputs, and each head has fewer inputs.
            inside[:rows, :columns] = math.sqrt(width / columns)
            inside[rows:, columns:] = math.sqrt(width / (width - columns))
            with torch.no_grad():
                layer.weight.mul_(inside)
            keep_inside = functools.partial(torch.mul, (inside > 0).float())
            layer.weight.register_hook(keep_inside)  # type: ignore[no-untyped-call]
