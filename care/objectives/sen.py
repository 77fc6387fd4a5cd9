"""SEN (arXiv 2204.11371): predict one view's embedding from the other's; nothing is invariant."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as fn

from care.config import SenConfig
from care.models import Network
from care.models.init import seeded
from care.objectives.augmentation_difference import WIDTH, DifferenceSpec
from care.objectives.base import BaseLoss, BaseObjective, weighted_sum
from care.objectives.full_precision import full_precision
from care.objectives.hypernetwork import Hypernetwork
from care.objectives.infonce import infonce
from care.objectives.inputs import InputSpec, PermutationSpec, ViewSpec
from care.objectives.view import View


@full_precision
def energy(first: Tensor, second: Tensor, sigma: float) -> Tensor:
    """Compute ‖first - second‖² / (2σ²) of each row, [N], of embeddings [N,d]."""
    return (first - second).square().sum(1) / (2 * sigma**2)


class SEN(BaseObjective[SenConfig]):
    """The loss of a predictor alone, in one of two forms.

    In the paper a network with a known symmetry predicts the next state of a world. Augmentations
    of images have no known group, so the matrix of SIE's predictor stands for their action.

    Attributes:
        predictor: From embedding and difference of the augmentations to the other embedding.
    """

    def __init__(self, config: SenConfig, network: Network, seed: int) -> None:
        super().__init__(config, network, seed)
        with seeded(seed, "sen"):
            self.predictor = Hypernetwork(network.embedding_dim, WIDTH, bias=True)

    def input_specs(self, views: Sequence[ViewSpec]) -> tuple[InputSpec, ...]:
        """Declare the difference of the views' augmentations, and which images are negatives."""
        first, second = views
        specs: tuple[InputSpec, ...] = (DifferenceSpec(first, second),)
        return (*specs, PermutationSpec("negatives")) if self.config.form == "energy" else specs

    def forward(
        self, first: View, second: View, difference: Tensor, negatives: Tensor | None = None
    ) -> BaseLoss:
        """Predict the second view's embedding.

        Args:
            first: The first view.
            second: The second view of the same N samples.
            difference: Of the views' augmentations, float32 [N,11].
            negatives: A permutation of 0 … N - 1, int64 [N]; None for InfoNCE.
        """
        config, one, two = self.config, first.embedding, second.embedding
        state, target = one.projection, two.projection
        predicted = self.predictor(state, difference.to(state.dtype))
        positives = (one.sphere, two.sphere)
        if negatives is None:
            loss = infonce(fn.normalize(predicted, dim=1), two.sphere, config.temperature)
            return BaseLoss(loss, {"prediction": loss}, positives)
        apart = energy(state, state[negatives], config.sigma)
        terms = {
            "prediction": energy(state + predicted, target, config.sigma).mean(),
            "hinge": fn.relu(config.hinge - apart).mean(),
        }
        return BaseLoss(weighted_sum(terms, dict.fromkeys(terms, 1.0)), terms, positives)
