"""Alignment and uniformity in the printed forms of docs/paper.md §1, and in the authors'.

The authors' code computes other things under these names (docs/paper.md §3): its alignment is
-mean(z1·z2)/τ, so :func:`positive_cosine`, and its uniformity is :func:`negatives_energy`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from care.objectives.full_precision import full_precision


@full_precision
def alignment(z1: Tensor, z2: Tensor) -> Tensor:
    """L_inv = E ‖f(a(x)) - f(a'(x))‖, the distance un-squared as printed.

    Args:
        z1: Embeddings of the images under a, [N,d] on the unit sphere.
        z2: Embeddings of the same images under a', [N,d].

    Returns:
        A scalar in [0, 2].
    """
    distances: Tensor = torch.linalg.vector_norm(z1 - z2, dim=1)
    return distances.mean()


@full_precision
def uniformity(z: Tensor) -> Tensor:
    """L_unif = log E exp(f(x')·f(x)) over ordered pairs of different images, no temperature.

    Args:
        z: Embeddings, [N,d] on the unit sphere, N >= 2.

    Returns:
        A scalar in [-1, 1]; 1 when all embeddings are one point. Lower is more uniform.
    """
    count = len(z)
    similarities = (z @ z.T).fill_diagonal_(-torch.inf)
    return similarities.flatten().logsumexp(0) - math.log(count * (count - 1))


@full_precision
def positive_cosine(z1: Tensor, z2: Tensor) -> Tensor:
    """E f(a(x))·f(a'(x)), the mean cosine of positive pairs (Figs 11-16).

    Args:
        z1: Embeddings of the images under a, [N,d] on the unit sphere.
        z2: Embeddings of the same images under a', [N,d].

    Returns:
        A scalar in [-1, 1].
    """
    return (z1 * z2).sum(1).mean()


@full_precision
def negatives_energy(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """The mean over all 2N embeddings of log Σ exp(z·z'/τ) over their 2N - 2 negatives [C].

    InfoNCE's denominator without the positive.

    Args:
        z1: Embeddings of the first views, [N,d] on the unit sphere, N >= 2.
        z2: Embeddings of the second views of the same images, [N,d].
        temperature: τ > 0.
    """
    count = len(z1)
    z = torch.cat([z1, z2])
    logits = z @ z.T / temperature
    logits = logits.fill_diagonal_(-torch.inf)
    for positives in (count, -count):
        logits.diagonal(positives).fill_(-torch.inf)
    return logits.logsumexp(1).mean()
