"""L_equi: augmentations act as rotations when they keep all inner products (CARE.md section 1)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from care.objectives.precision import full_precision


@full_precision
def equivariance_loss(
    z1: Tensor, z2: Tensor, splits: int, scale: Literal["mean", "authors"]
) -> Tensor:
    """L_equi as trained: the squared difference of the Gram matrices of two views, by chunks.

    The batch is cut into ``splits`` chunks of m = N / splits consecutive images; z1 and z2 embed
    them under two augmentations that every image of a chunk shares. It is 0 if and only if in each
    chunk one orthogonal map takes the first view to the second (Proposition 1).

    Args:
        z1: Embeddings under the chunks' first augmentations, [N,d] on the unit sphere.
        z2: Embeddings of the same images under their second ones, [N,d].
        splits: Number of chunks; divides N into chunks of two images or more.
        scale: ``mean`` [P]: the mean over the ordered pairs of different images of a chunk,
            averaged over the chunks. ``authors`` [C]: 2(m - 1) times that (CARE.md section 3).

    Returns:
        A scalar >= 0, in float32, or in float64 if the embeddings are.

    Raises:
        ValueError: The views differ in shape, or ``splits`` does not fit N.
    """
    size = len(z1) // splits
    if z1.shape != z2.shape or size * splits != len(z1) or size < 2:
        raise ValueError(
            f"got views {tuple(z1.shape)} and {tuple(z2.shape)} in {splits} chunks; allowed: "
            "two views of one shape, and chunks of equal size with two images or more"
        )
    difference = _gram(z1, splits) - _gram(z2, splits)
    difference.diagonal(dim1=1, dim2=2).zero_()
    mean = difference.square().sum() / (splits * size * (size - 1))
    return mean if scale == "mean" else 2 * (size - 1) * mean


def _gram(z: Tensor, splits: int) -> Tensor:
    """Inner products within each chunk, [splits,m,m]."""
    chunks = z.reshape(splits, -1, z.shape[1])
    return torch.bmm(chunks, chunks.mT)
