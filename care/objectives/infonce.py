"""InfoNCE, also called NT-Xent (docs/paper.md §1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as fn

from care.objectives.full_precision import full_precision


@full_precision
def infonce(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """The mean over all 2N embeddings of -log softmax of the positive, with 2N - 2 negatives.

    An embedding's positive is the other view of its image, its negatives are both views of all
    other images [C].

    Args:
        z1: Embeddings of the first views, [N,d] on the unit sphere.
        z2: Embeddings of the second views of the same images, [N,d].
        temperature: τ > 0, which divides the similarities.

    Returns:
        A scalar >= 0, in float32, or in float64 if the embeddings are.
    """
    z = torch.cat([z1, z2])
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    positives = torch.arange(len(z), device=z.device).roll(len(z1))
    return fn.cross_entropy(logits, positives)
