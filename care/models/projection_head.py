"""The projection head (docs/paper.md §5 [C])."""

from __future__ import annotations

from torch import nn


def projection_head(
    feature_dim: int, hidden: int, output: int, batch_norm: bool = True
) -> nn.Sequential:
    """Build Linear without bias, BatchNorm, ReLU, Linear: [N,feature_dim] -> [N,output].

    Args:
        feature_dim: Width of the encoder's output.
        hidden: Width of the hidden layer.
        output: Dimension d of the embedding, on the unit sphere S^{d-1}.
        batch_norm: Use BatchNorm; without it the first layer has a bias.
    """
    return nn.Sequential(
        nn.Linear(feature_dim, hidden, bias=not batch_norm),
        *([nn.BatchNorm1d(hidden)] if batch_norm else []),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, output),
    )
