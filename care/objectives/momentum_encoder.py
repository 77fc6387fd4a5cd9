"""A copy of a network that follows it slowly."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from care.models import Network


class MomentumNetwork(nn.Module):
    """The exponential moving average of a network's parameters, never trained itself.

    It normalizes with its own batch statistics and keeps its own running ones, as in MoCo and BYOL.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network: Network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def follow(self, network: Network, momentum: float) -> None:
        """Update the copy: θ' ← momentum · θ' + (1 - momentum) · θ.

        Args:
            network: The followed network, with parameters θ.
            momentum: In [0, 1]; 1 leaves the copy as it is.
        """
        mine: list[Tensor] = list(self.network.parameters())
        theirs: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - momentum)
