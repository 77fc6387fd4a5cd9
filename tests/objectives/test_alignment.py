from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from care.objectives.alignment import alignment, positive_cosine, uniformity
from tests.helpers.points import sphere


@settings(deadline=None)
@given(count=st.integers(2, 8), dim=st.integers(2, 5), seed=st.integers(0, 1000))
def test_equal_the_printed_formulas(count: int, dim: int, seed: int) -> None:
    z1, z2 = sphere(count, dim, seed), sphere(count, dim, seed + 1)
    distances = [math.dist(a, b) for a, b in zip(z1.tolist(), z2.tolist(), strict=True)]
    cosines = [float(a @ b) for a, b in zip(z1, z2, strict=True)]
    exponentials = [
        math.exp(float(z1[i] @ z1[j])) for i in range(count) for j in range(count) if i != j
    ]
    assert float(alignment(z1, z2)) == pytest.approx(sum(distances) / count, rel=1e-12)
    assert float(positive_cosine(z1, z2)) == pytest.approx(sum(cosines) / count, abs=1e-12)
    expected = math.log(sum(exponentials) / len(exponentials))
    assert float(uniformity(z1)) == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_gradients_exist_also_where_the_views_are_equal() -> None:
    z = sphere(4, 3, 0).requires_grad_()
    alignment(z, z.detach()).backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert z.grad.isfinite().all()
    other = sphere(4, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(alignment, (z, other))
    assert torch.autograd.gradcheck(uniformity, (z,))


def test_collapse_is_the_worst_uniformity_and_the_best_alignment() -> None:
    z = torch.tensor([[0.6, 0.8]], dtype=torch.float64).expand(9, 2)
    assert float(uniformity(z)) == pytest.approx(1)
    assert float(alignment(z, z)) == 0
    assert float(positive_cosine(z, z)) == pytest.approx(1)


def test_antipodes_are_the_worst_alignment_and_two_of_them_the_best_uniformity() -> None:
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert float(alignment(z, -z)) == 2
    assert float(positive_cosine(z, -z)) == -1
    assert float(uniformity(z)) == pytest.approx(-1)
