"""The interface of base objectives: modules, because some keep more than the trained network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from care.config.objective import BaseObjectiveConfig
from care.models import Network
from care.objectives.inputs import InputSpec, ViewSpec


class BaseLoss(NamedTuple):
    """The loss of one step.

    Attributes:
        loss: Scalar to be minimized.
        terms: Its terms by the names under which they are reported.
        positives: Two embeddings [N,d] on the unit sphere whose rows belong together, for the mean
            cosine of positive pairs; None where there are no views.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    positives: tuple[Tensor, Tensor] | None


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Add scalars, each times the weight of its name."""
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum()


ConfigT = TypeVar("ConfigT", bound=BaseObjectiveConfig)


class BaseObjective(nn.Module, ABC, Generic[ConfigT]):
    """A loss on independently augmented views of a batch.

    Its parameters that require a gradient are trained beside the network's. Its other parameters
    and buffers, e.g. a momentum encoder and a queue, are part of the checkpoint.

    Args:
        config: Its settings.
        network: The trained network with its initial weights.
        seed: The trial's seed.

    Attributes:
        config: As given.
        views: Number of views it takes, 2 unless a subclass sets another.
    """

    views: int = 2

    def __init__(self, config: ConfigT, network: Network, seed: int) -> None:
        super().__init__()
        self.config = config

    def view_specs(self) -> tuple[ViewSpec, ...]:
        """Declare its views: by default :attr:`views`, with an augmentation for each sample."""
        return tuple(ViewSpec(f"view-{i + 1}") for i in range(self.views))

    def input_specs(self, views: Sequence[ViewSpec]) -> tuple[InputSpec, ...]:
        """Declare the inputs that it takes beside its views.

        Args:
            views: The specifications of its views; those of L_equi's chunks with ``shared_views``.
        """
        return ()

    @abstractmethod
    def forward(self, *views: Any, **inputs: Any) -> BaseLoss:
        """Compute the loss of one step.

        Args:
            *views: :attr:`views` times :class:`care.objectives.view.View`, of the same N samples.
            **inputs: A tensor for each of :meth:`input_specs`, by its name.
        """

    def after_step(self, network: Network, progress: float) -> None:
        """Update what is not trained, e.g. a momentum encoder, after the optimizer's step.

        Args:
            network: The trained network.
            progress: Steps completed over steps of the whole training, in (0, 1].
        """
