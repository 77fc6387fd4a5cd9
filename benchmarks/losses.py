"""The losses against straightforward implementations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as fn

from benchmarks.measure import Result, compare
from care.objectives.equivariance import equivariance_loss
from care.objectives.infonce import infonce

BATCH, DIMENSIONS, SPLITS = 256, 128, 16
_TIMES = 20


def _embeddings(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(BATCH, DIMENSIONS, generator=generator)
    return fn.normalize(z, dim=1).requires_grad_()


def _loop_equivariance(z1: Tensor, z2: Tensor) -> Tensor:
    """Compute L_equi by a loop over chunks with a mask each, as the authors' code does."""
    total = z1.new_zeros(())
    for a, b in zip(z1.chunk(SPLITS), z2.chunk(SPLITS), strict=True):
        off_diagonal = ~torch.eye(len(a), dtype=torch.bool)
        first = (a @ a.T)[off_diagonal].view(len(a), -1)
        second = (b @ b.T)[off_diagonal].view(len(b), -1)
        total = total + 2 * (first - second).square().sum(1).mean()
    return total / SPLITS


def _masked_infonce(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Compute InfoNCE by masks that are built at each step, as the authors' code does."""
    z = torch.cat([z1, z2])
    similarity = (z @ z.T / temperature).exp()
    mask = torch.ones_like(similarity, dtype=torch.bool)
    for i in range(len(z1)):
        mask[i, i + len(z1)] = mask[i + len(z1), i] = False
        mask[i, i] = mask[i + len(z1), i + len(z1)] = False
    negatives = similarity.masked_select(mask).view(len(z), -1).sum(1)
    positive = ((z1 * z2).sum(1) / temperature).exp()
    positive = torch.cat([positive, positive])
    return -(positive / (positive + negatives)).log().mean()


def _differentiate(loss: Callable[[], Tensor]) -> None:
    """Run forward and backward several times: one takes fractions of a millisecond."""
    for _ in range(_TIMES):
        loss().backward()  # type: ignore[no-untyped-call]


def equivariance() -> list[Result]:
    """Time L_equi, forward and backward, with 16 chunks."""
    z1, z2 = _embeddings(1), _embeddings(2)
    torch.testing.assert_close(
        equivariance_loss(z1, z2, SPLITS, "authors"), _loop_equivariance(z1, z2)
    )
    line = compare(
        "equivariance-loss",
        "loop over chunks",
        lambda: _differentiate(lambda: equivariance_loss(z1, z2, SPLITS, "authors")),
        lambda: _differentiate(lambda: _loop_equivariance(z1, z2)),
        pairs=11,
    )
    return [line]


def contrast() -> list[Result]:
    """Time InfoNCE, forward and backward."""
    z1, z2 = _embeddings(1), _embeddings(2)
    torch.testing.assert_close(infonce(z1, z2, 0.5), _masked_infonce(z1, z2, 0.5))
    line = compare(
        "infonce-loss",
        "masks built each step",
        lambda: _differentiate(lambda: infonce(z1, z2, 0.5)),
        lambda: _differentiate(lambda: _masked_infonce(z1, z2, 0.5)),
        pairs=11,
    )
    return [line]
