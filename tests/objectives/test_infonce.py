from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from care.objectives.infonce import infonce
from tests.helpers.points import sphere


def brute_force(z1: Tensor, z2: Tensor, temperature: float) -> float:
    """docs/paper.md §1, term by term."""
    views = [*z1.tolist(), *z2.tolist()]
    count = len(z1)

    def similarity(i: int, j: int) -> float:
        inner = sum(a * b for a, b in zip(views[i], views[j], strict=True))
        return math.exp(inner / temperature)

    total = 0.0
    for i in range(2 * count):
        positive = (i + count) % (2 * count)
        negatives = [j for j in range(2 * count) if j not in (i, positive)]
        assert len(negatives) == 2 * count - 2
        numerator = similarity(i, positive)
        total -= math.log(numerator / (numerator + sum(similarity(i, j) for j in negatives)))
    return total / (2 * count)


@settings(deadline=None)
@given(
    count=st.integers(1, 6),
    dim=st.integers(2, 5),
    temperature=st.floats(0.05, 2.0),
    seed=st.integers(0, 1000),
)
def test_equals_the_printed_formula(count: int, dim: int, temperature: float, seed: int) -> None:
    z1, z2 = sphere(count, dim, seed), sphere(count, dim, seed + 1)
    loss = infonce(z1, z2, temperature)
    assert loss.dtype == torch.float64
    assert float(loss) == pytest.approx(brute_force(z1, z2, temperature), rel=1e-10, abs=1e-12)


def test_gradient() -> None:
    z1, z2 = sphere(4, 3, 0).requires_grad_(), sphere(4, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: infonce(a, b, 0.5), (z1, z2))


def test_collapsed_embeddings_cost_the_logarithm_of_the_choices() -> None:
    z = torch.tensor([[1.0, 0.0]]).expand(8, 2)
    assert float(infonce(z, z, 0.5)) == pytest.approx(math.log(2 * 8 - 1), rel=1e-6)


def test_aligned_views_cost_less_than_shuffled_ones() -> None:
    z = sphere(16, 8, 0)
    assert infonce(z, z, 0.2) < infonce(z, z.roll(1, 0), 0.2) - 1


@settings(deadline=None)
@given(seed=st.integers(0, 1000))
def test_views_and_images_may_be_exchanged(seed: int) -> None:
    z1, z2 = sphere(6, 4, seed), sphere(6, 4, seed + 1)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    expected = infonce(z1, z2, 0.5)
    torch.testing.assert_close(infonce(z2, z1, 0.5), expected)
    torch.testing.assert_close(infonce(z1[order], z2[order], 0.5), expected)


def test_half_precision_and_autocast_do_not_reach_the_loss() -> None:
    z1, z2 = sphere(8, 16, 0).float(), sphere(8, 16, 1).float()
    expected = infonce(z1, z2, 0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(infonce(z1, z2, 0.1), expected)
        assert torch.equal(infonce(z1=z1, z2=z2, temperature=0.1), expected)
    low = infonce(z1.bfloat16(), z2.bfloat16(), 0.1)
    assert torch.equal(low, infonce(z1.bfloat16().float(), z2.bfloat16().float(), 0.1))
    assert low.dtype == torch.float32
