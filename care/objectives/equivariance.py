"""L_equi: augmentations act as rotations when they keep all inner products (docs/paper.md §1)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from care.objectives.full_precision import full_precision


@full_precision
def equivariance_loss(
    z1: Tensor, z2: Tensor, splits: int, scale: Literal["mean", "authors"]
) -> Tensor:
    """Compare the inner products of two views, chunk by chunk: L_equi as trained.

    mean over i != j of (z1_i·z1_j - z2_i·z2_j)², docs/paper.md §1 and Algorithm 1 in §3. The batch
    is cut into ``splits`` chunks of m = N / splits consecutive images. z1 and z2 embed them under
    two augmentations, each of which all images of a chunk share. The loss is 0 if and only if an
    orthogonal map takes the first view to the second in each chunk (Proposition 1).

    Args:
        z1: Embeddings under the chunks' first augmentations, [N,d] on the unit sphere.
        z2: Embeddings of the same images under their second ones, [N,d].
        splits: Number of chunks; divides N into chunks of two images or more.
        scale: ``mean`` [P]: the mean over the ordered pairs of different images of a chunk,
            averaged over the chunks. ``authors`` [C]: 2(m - 1) times that (docs/paper.md §3).

    Returns:
        A scalar >= 0, in float32, or in float64 if the embeddings are.

    Raises:
        ValueError: The views differ in shape, or ``splits`` does not fit N.

    Example:
        >>> z1 = torch.eye(3)[:2]  # one chunk of two images, at right angles
        >>> turned = z1.flip(1)  # an orthogonal map moves both
        >>> equivariance_loss(z1, turned, splits=1, scale="mean").item()
        0.0
        >>> closer = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])  # inner product 0.6, not 0
        >>> round(equivariance_loss(z1, closer, splits=1, scale="mean").item(), 4)
        0.36
    """
    size = len(z1) // splits
    if z1.shape != z2.shape or size * splits != len(z1) or size < 2:
        raise ValueError(
            f"got views {tuple(z1.shape)} and {tuple(z2.shape)} in {splits} chunks; allowed: "
            "two views of one shape, and chunks of equal size with two images or more"
        )
    weight = 1 / (splits * size * (size - 1))
    if scale == "authors":
        weight *= 2 * (size - 1)
    chunks = (z.reshape(splits, size, -1) for z in (z1, z2))
    loss: Tensor = _GramDistance.apply(*chunks, weight)  # type: ignore[no-untyped-call]
    return loss


class _GramDistance(torch.autograd.Function):
    """w Σ D², D the difference of the chunks' Gram matrices off the diagonal.

    Its gradients are 4 w D z1 and -4 w D z2: as D is symmetric, two products instead of the four
    that differentiating both factors of both Gram matrices takes.
    """

    @staticmethod
    def forward(ctx: Any, z1: Tensor, z2: Tensor, weight: float) -> Tensor:
        difference = torch.bmm(z1, z1.mT).sub_(torch.bmm(z2, z2.mT))
        difference.diagonal(dim1=1, dim2=2).zero_()
        ctx.save_for_backward(z1, z2, difference)
        ctx.weight = weight
        entries = difference.view(-1)
        return entries.dot(entries) * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        z1, z2, difference = ctx.saved_tensors
        difference = difference * (gradient * (4 * ctx.weight))
        return torch.bmm(difference, z1), torch.bmm(difference, z2).neg_(), None
