"""What every base objective is: a module, because some keep more than the trained network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from torch import Tensor, nn

from care.config.objective import BaseObjectiveConfig
from care.models import Network
from care.objectives.inputs import View


class BaseLoss(NamedTuple):
    """The loss of one step.

    Attributes:
        loss: Scalar to be minimized.
        terms: What it consists of, by the name it is reported under.
        positives: Two embeddings [N,d] on the unit sphere whose rows belong together, for the mean
            cosine of positive pairs; None where there are no views.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    positives: tuple[Tensor, Tensor] | None


ConfigT = TypeVar("ConfigT", bound=BaseObjectiveConfig)


class BaseObjective(nn.Module, ABC, Generic[ConfigT]):
    """A loss on independently augmented views of a batch.

    Its parameters that require a gradient are trained beside the network's; its other parameters
    and buffers, e.g. a momentum encoder and a queue, are part of the checkpoint.

    Args:
        config: Its settings.
        network: The trained network with its initial weights.
        seed: The trial's seed.

    Attributes:
        config: As given.
        views: Number of views it wants.
    """

    views: int = 2

    def __init__(self, config: ConfigT, network: Network, seed: int) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, views: Sequence[View]) -> BaseLoss:
        """The loss of one step.

        Args:
            views: As many as :attr:`views`, of the same N images.
        """

    def after_step(self, network: Network, progress: float) -> None:
        """Called when the optimizer has stepped.

        Args:
            network: The trained network.
            progress: Steps done over steps of the whole training, in (0, 1].
        """
