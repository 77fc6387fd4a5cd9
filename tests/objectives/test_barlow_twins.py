from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from care.objectives.barlow_twins import barlow_twins_loss, cross_correlation
from tests.helpers.points import points, shuffled

SIZES = {"count": st.integers(3, 12), "dim": st.integers(1, 5), "seed": st.integers(0, 1000)}


def numpys(p1: Tensor, p2: Tensor) -> NDArray[np.float64]:
    """C_ij = Σ_b z_bi z'_bj / √(…) of the standardized projections, with BatchNorm's epsilon."""
    a, b = (p.numpy() - p.numpy().mean(0) for p in (p1, p2))
    scale = np.sqrt(np.outer((a**2).mean(0) + 1e-5, (b**2).mean(0) + 1e-5))
    return np.asarray(np.einsum("bi,bj->ij", a, b) / len(a) / scale)


@settings(deadline=None)
@given(**SIZES, scale=st.floats(0.01, 100))
def test_the_correlation_is_numpys(count: int, dim: int, seed: int, scale: float) -> None:
    p1, p2 = scale * points(count, dim, seed), scale * points(count, dim, seed + 1) + 3
    expected = numpys(p1, p2)
    np.testing.assert_allclose(cross_correlation(p1, p2).numpy(), expected, rtol=0, atol=1e-10)


def test_without_epsilon_it_is_pearsons() -> None:
    p1, p2 = points(64, 5, 0), 2 + points(64, 5, 1)
    theirs = np.corrcoef(p1.T.numpy(), p2.T.numpy())[:5, 5:]
    # BatchNorm's epsilon shrinks a correlation of unit variances by a hundred-thousandth.
    np.testing.assert_allclose(cross_correlation(p1, p2).numpy(), theirs, rtol=3e-5, atol=0)


@settings(deadline=None)
@given(**SIZES, off_diagonal=st.floats(0, 1))
def test_equals_the_printed_formula(count: int, dim: int, seed: int, off_diagonal: float) -> None:
    p1, p2 = points(count, dim, seed), points(count, dim, seed + 1)
    correlation = numpys(p1, p2).tolist()
    expected = 0.0
    for i in range(dim):
        for j in range(dim):
            c = correlation[i][j]
            expected += (1 - c) ** 2 if i == j else off_diagonal * c**2
    loss = barlow_twins_loss(p1, p2, off_diagonal)
    assert float(loss) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(**SIZES)
def test_neither_order_nor_scale_nor_place_matters(count: int, dim: int, seed: int) -> None:
    p1, p2 = 1e3 * points(count, dim, seed), 1e3 * points(count, dim, seed + 1)
    order = shuffled(count, seed)
    loss = barlow_twins_loss(p1, p2, 0.01)
    moved = barlow_twins_loss(7 * p1[order] + 5, p2[order] - 2, 0.01)
    assert float(moved) == pytest.approx(float(loss), rel=1e-4, abs=1e-6)


def test_equal_views_with_independent_dimensions_cost_nothing() -> None:
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    assert float(barlow_twins_loss(1e4 * signs, 1e4 * signs, 1.0)) == pytest.approx(0, abs=1e-12)


def test_gradient() -> None:
    p1, p2 = points(5, 3, 0).requires_grad_(), points(5, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: barlow_twins_loss(a, b, 0.5), (p1, p2))
