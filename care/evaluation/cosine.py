"""Measure the cosine between embeddings of positive pairs (Figs 6, 11, 13, 15)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as fn

from care.evaluation.features import double

BINS = 80
EDGES: NDArray[np.float64] = np.linspace(-1, 1, BINS + 1)
"""Edges of equal bins over [-1, 1]; a bin includes its left edge, the last one both."""


def cosine_histogram(one: Tensor, other: Tensor) -> NDArray[np.int64]:
    """Count the cosines of corresponding rows in each bin of :data:`EDGES`, int64 [BINS].

    Args:
        one: Embeddings [n,d] of any length but 0.
        other: Embeddings of the corresponding views, [n,d].
    """
    cosines = (fn.normalize(double(one), dim=1) * fn.normalize(double(other), dim=1)).sum(1)
    counts, _ = np.histogram(cosines.clamp(-1, 1).cpu().numpy(), EDGES)
    return counts.astype(np.int64)


def mean_cosine(one: Tensor, other: Tensor) -> float:
    """Average the cosine of corresponding rows, in [-1, 1], computed in float64.

    Args:
        one: Embeddings [n,d] of any length but 0.
        other: Embeddings of the corresponding views, [n,d].

    Example:
        >>> mean_cosine(torch.eye(2), 2 * torch.eye(2))
        1.0
    """
    return float(torch.cosine_similarity(double(one), double(other), dim=1).mean())
