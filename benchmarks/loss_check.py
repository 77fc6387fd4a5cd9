"""A check that a peer's InfoNCE equals ours."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as fn

from benchmarks import authors
from benchmarks.workload import TEMPERATURE


def check_infonce(criterion: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Compare a peer's InfoNCE with ours on random embeddings.

    Raises:
        AssertionError: They differ by more than rounding.
    """
    generator = torch.Generator().manual_seed(0)
    z1, z2 = (fn.normalize(torch.randn(16, 8, generator=generator), dim=1) for _ in range(2))
    torch.testing.assert_close(criterion(z1, z2), authors.infonce(z1, z2, TEMPERATURE))
