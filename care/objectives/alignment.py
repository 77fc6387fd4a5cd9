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
    """Average the distance of positive pairs: L_inv = E ‖f(a(x)) - f(a'(x))‖.

    The distance is not squared, as the paper prints it (docs/paper.md §1).

    Args:
        z1: Embeddings of the images under a, [N,d] on the unit sphere.
        z2: Embeddings of the same images under a', [N,d].

    Returns:
        A scalar in [0, 2].

    Example:
        >>> z = torch.eye(2)
        >>> alignment(z, -z).item()
        2.0
    """
    distances: Tensor = torch.linalg.vector_norm(z1 - z2, dim=1)
    return distances.mean()


@full_precision
def uniformity(z: Tensor) -> Tensor:
    """Measure how evenly embeddings cover the sphere: L_unif = log E exp(f(x')·f(x)).

    The mean is over ordered pairs of different images, without a temperature (docs/paper.md §1).

    Args:
        z: Embeddings, [N,d] on the unit sphere, N >= 2.

    Returns:
        A scalar in [-1, 1]; 1 when all embeddings are one point. Lower is more uniform.

    Example:
        >>> uniformity(torch.eye(4)).item()  # all inner products are 0
        0.0
    """
    count = len(z)
    similarities = (z @ z.T).fill_diagonal_(-torch.inf)
    return similarities.flatten().logsumexp(0) - math.log(count * (count - 1))


@full_precision
def positive_cosine(z1: Tensor, z2: Tensor) -> Tensor:
    """Average the cosine of positive pairs: E f(a(x))·f(a'(x)) (Figs 11-16).

    Args:
        z1: Embeddings of the images under a, [N,d] on the unit sphere.
        z2: Embeddings of the same images under a', [N,d].

    Returns:
        A scalar in [-1, 1].

    Example:
        >>> z = torch.eye(2)
        >>> positive_cosine(z, -z).item()
        -1.0
    """
    return (z1 * z2).sum(1).mean()


@full_precision
def negatives_energy(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Average log Σ exp(z·z⁻/τ) over all 2N embeddings z, each with 2N - 2 negatives z⁻ [C].

    This is InfoNCE's denominator without the positive (docs/paper.md §3).

    Args:
        z1: Embeddings of the first views, [N,d] on the unit sphere, N >= 2.
        z2: Embeddings of the second views of the same images, [N,d].
        temperature: τ > 0.

    Example:
        >>> z = torch.eye(2)
        >>> round(negatives_energy(z, z, temperature=1.0).item(), 4)  # log 2
        0.6931
    """
    count = len(z1)
    z = torch.cat([z1, z2])
    logits = z @ z.T / temperature
    logits = logits.fill_diagonal_(-torch.inf)
    for positives in (count, -count):
        logits.diagonal(positives).fill_(-torch.inf)
    return logits.logsumexp(1).mean()
