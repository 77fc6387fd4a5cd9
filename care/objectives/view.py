"""A view on its way through the networks."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from care.distributed.group import ALONE, Group
from care.models import Embedding, Network


class View:
    """One augmented view of a batch of N samples.

    Args:
        inputs: This process's share of the view, float images [n,3,H,W] or points [n,P,4].
        network: The trained network.
        group: The processes that the batch is spread over.
    """

    def __init__(self, inputs: Tensor, network: Network, group: Group = ALONE) -> None:
        self.inputs = inputs
        self.group = group
        self._network = network

    @cached_property
    def embedding(self) -> Embedding:
        """Embed the view by the trained network, in one forward pass however many losses ask."""
        return self.embed_by(self._network)

    def embed_by(self, network: Network) -> Embedding:
        """Embed the view by ``network``, and gather the N rows of all processes."""
        return Embedding(*map(self.group.gather, network.embed(self.inputs)))

    def features_of(self, inputs: Tensor) -> Tensor:
        """Encode inputs made from this view's by the trained network, and gather all processes'.

        Args:
            inputs: k consecutive inputs for each of this process's n samples, [k·n,...].

        Returns:
            Features [k·N,feature_dim], in the order of the samples.
        """
        return self.group.gather(self._network.features(inputs))
