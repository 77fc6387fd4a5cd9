"""A linear map of embeddings whose matrix depends on parameters, as in SIE and STL."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Hypernetwork(nn.Module):
    """Maps an embedding x by W(z) x, with W(z) = Σ_k z_k W_k, plus W_0 with a bias.

    The authors' code makes a matrix for each sample. Here Σ_k z_k (W_k x) is computed, which needs
    d/K times less memory.

    Args:
        dimension: d, of the embeddings.
        parameters: K, the number of parameters.
        bias: Add W_0, without which parameters of 0 map everything to 0.
    """

    def __init__(self, dimension: int, parameters: int, bias: bool) -> None:
        super().__init__()
        self._dimension = dimension
        self.layer = nn.Linear(parameters, dimension * dimension, bias=bias)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Map embeddings [N,d] by their parameters [N,K]: [N,d]."""
        d = self._dimension
        matrices = self.layer.weight.view(d, d, -1)
        mapped = torch.einsum("oik,ni->nok", matrices, x)
        mapped = torch.einsum("nok,nk->no", mapped, z)
        return mapped if self.layer.bias is None else mapped + x @ self.layer.bias.view(d, d).T
