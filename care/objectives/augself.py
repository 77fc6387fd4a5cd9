"""AugSelf (arXiv 2111.09613): SimCLR, and predict how the augmentations of two views differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from care.config import AugselfConfig
from care.models import Network
from care.models.init import seeded
from care.objectives.augmentation_difference import BLUR, COLOR, CROP, FLIP, DifferenceSpec
from care.objectives.base import BaseLoss, BaseObjective, weighted_sum
from care.objectives.full_precision import full_precision
from care.objectives.infonce import infonce
from care.objectives.inputs import InputSpec, ViewSpec
from care.objectives.mlp import mlp
from care.objectives.view import View


@full_precision
def bounded_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Average the squared error of tanh(predicted), for targets in [-1, 1]."""
    return fn.mse_loss(predicted.tanh(), target)


_LOSSES: dict[str, tuple[slice, Callable[[Tensor, Tensor], Tensor]]] = {
    "crop": (CROP, bounded_error),
    "color": (COLOR, bounded_error),
    "flip": (FLIP, full_precision(fn.binary_cross_entropy_with_logits)),
    "blur": (BLUR, bounded_error),
}
"""Columns of the difference and loss of each prediction."""


class AugSelf(BaseObjective[AugselfConfig]):
    """InfoNCE, and a prediction of each kind of difference from both views' features.

    Both orders of the views are predicted, as in its authors' code.

    Attributes:
        predictors: By kind, from the features of two views to their difference; three layers.
    """

    def __init__(self, config: AugselfConfig, network: Network, seed: int) -> None:
        super().__init__(config, network, seed)
        inputs = 2 * network.feature_dim
        self.predictors = nn.ModuleDict()
        for kind, (columns, _) in _LOSSES.items():
            if config.weights[kind] > 0:
                with seeded(seed, f"augself-{kind}"):  # the other kinds' weights do not matter
                    width = columns.stop - columns.start
                    self.predictors[kind] = mlp(inputs, config.hidden, config.hidden, width)

    def input_specs(self, views: Sequence[ViewSpec]) -> tuple[InputSpec, ...]:
        """Declare the differences of the views' augmentations, in both orders."""
        first, second = views
        return (
            DifferenceSpec(first, second, "forward_difference"),
            DifferenceSpec(second, first, "backward_difference"),
        )

    def forward(
        self, first: View, second: View, forward_difference: Tensor, backward_difference: Tensor
    ) -> BaseLoss:
        """Compare the views and predict their differences.

        Args:
            first: The first view.
            second: The second view of the same N samples.
            forward_difference: Of the first view's augmentations to the second's, [N,11].
            backward_difference: Of the second view's augmentations to the first's, [N,11].
        """
        one, two = first.embedding, second.embedding
        terms = {"infonce": infonce(one.sphere, two.sphere, self.config.temperature)}
        pairs = [(one.features, two.features), (two.features, one.features)]
        features = torch.cat([torch.cat(pair, dim=1) for pair in pairs])
        target = torch.cat([forward_difference, backward_difference]).to(features.dtype)
        for kind, predictor in self.predictors.items():
            columns, error = _LOSSES[kind]
            terms[kind] = error(predictor(features), target[:, columns])
        loss = weighted_sum(terms, self.config.weights)
        return BaseLoss(loss, terms, (one.sphere, two.sphere))
