"""Random points for the tests of the losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as fn


def points(count: int, dim: int, seed: int) -> Tensor:
    """Float64 [count,dim], normally distributed."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=rng, dtype=torch.float64)


def sphere(count: int, dim: int, seed: int) -> Tensor:
    """Float64 [count,dim], uniform on the unit sphere."""
    return fn.normalize(points(count, dim, seed), dim=1)


def shuffled(count: int, seed: int) -> Tensor:
    """A permutation, int64 [count]."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def orthogonal(dim: int, seed: int) -> Tensor:
    """A rotation or reflection, float64 [dim,dim]."""
    q: Tensor = torch.linalg.qr(points(dim, dim, seed)).Q
    return q
