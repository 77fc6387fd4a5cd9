"""InfoNCE, also called NT-Xent (docs/paper.md §1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as fn

from care.objectives.full_precision import full_precision


@full_precision
def infonce(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Average -log softmax of the positive over all 2N embeddings, each with 2N - 2 negatives.

    mean over z of -log( e^{z·z⁺/τ} / (e^{z·z⁺/τ} + Σ e^{z·z⁻/τ}) ), docs/paper.md §1. The positive
    z⁺ is the other view of z's image; the negatives z⁻ are both views of all other images [C].

    Args:
        z1: Embeddings of the first views, [N,d] on the unit sphere.
        z2: Embeddings of the second views of the same images, [N,d].
        temperature: τ > 0, which divides the similarities.

    Returns:
        A scalar >= 0, in float32, or in float64 if the embeddings are.

    Example:
        >>> z1 = torch.eye(2)  # two images, each with equal views, at right angles
        >>> round(infonce(z1, z1, temperature=1.0).item(), 4)  # log(1 + 2 / e)
        0.5514
    """
    z = torch.cat([z1, z2])
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    positives = torch.arange(len(z), device=z.device).roll(len(z1))
    return fn.cross_entropy(logits, positives)
