from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from care.objectives.vicreg import covariance_energy, missing_variance, vicreg_loss
from tests.helpers.points import orthogonal, points, shuffled
from tests.helpers.stepping import inputs_of, terms_of, trainer

SIZES = {"count": st.integers(2, 8), "dim": st.integers(1, 5), "seed": st.integers(0, 1000)}
WEIGHTS = {"invariance": 25.0, "variance": 25.0, "covariance": 1.0}


def printed(p1: Tensor, p2: Tensor, weights: dict[str, float]) -> float:
    """arXiv 2105.04906, Eqs. 1 to 6, with loops; the first term over d, the second over 2."""
    rows1, rows2 = p1.tolist(), p2.tolist()
    count, dim = p1.shape
    distances = sum(
        (a - b) ** 2 for x, y in zip(rows1, rows2, strict=True) for a, b in zip(x, y, strict=True)
    )
    total = weights["invariance"] * distances / count / dim
    for rows in (rows1, rows2):
        means = [sum(row[j] for row in rows) / count for j in range(dim)]

        def covariance(i: int, j: int, rows: list[list[float]] = rows, means: list[float] = means):  # type: ignore[no-untyped-def]
            return sum((r[i] - means[i]) * (r[j] - means[j]) for r in rows) / (count - 1)

        for j in range(dim):
            deviation = math.sqrt(covariance(j, j) + 1e-4)
            total += weights["variance"] * max(0.0, 1 - deviation) / dim / 2
            for i in range(dim):
                total += weights["covariance"] * covariance(i, j) ** 2 / dim if i != j else 0
    return float(total)


@settings(deadline=None)
@given(**SIZES, scale=st.floats(0.05, 2))
def test_equals_the_printed_formulas(count: int, dim: int, seed: int, scale: float) -> None:
    p1, p2 = scale * points(count, dim, seed), scale * points(count, dim, seed + 1)
    loss = vicreg_loss(p1, p2, **WEIGHTS)
    assert float(loss) == pytest.approx(printed(p1, p2, WEIGHTS), rel=1e-9)


@settings(deadline=None)
@given(**SIZES)
def test_neither_the_order_nor_a_shift_of_both_matters(count: int, dim: int, seed: int) -> None:
    p1, p2 = points(count, dim, seed), points(count, dim, seed + 1)
    order = shuffled(count, seed)
    moved = vicreg_loss(p1[order] + 3, p2[order] + 3, **WEIGHTS)
    assert float(moved) == pytest.approx(float(vicreg_loss(p1, p2, **WEIGHTS)), rel=1e-9)


def test_collapse_costs_what_variance_weighs() -> None:
    constant = torch.ones(8, 3, dtype=torch.float64)
    assert float(missing_variance(constant)) == pytest.approx(0.99)
    assert float(covariance_energy(constant)) == 0
    assert float(vicreg_loss(constant, constant, **WEIGHTS)) == pytest.approx(25 * 0.99)


def test_uncorrelated_dimensions_with_a_deviation_above_one_cost_nothing() -> None:
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    assert float(vicreg_loss(2 * signs, 2 * signs, **WEIGHTS)) == pytest.approx(0, abs=1e-12)
    turned = torch.cat([signs, 3 * signs]) @ torch.diag(torch.tensor([1.0, 2.0])).double()
    assert float(covariance_energy(turned @ orthogonal(2, 0))) > 0


def test_gradient() -> None:
    p1, p2 = (points(5, 3, seed).requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(lambda a, b: vicreg_loss(a, b, 3, 2, 1), (p1, p2))


@pytest.mark.parametrize("name", ["vicreg", "care-vicreg"])
def test_the_objective_compares_projections_before_the_sphere(name: str) -> None:
    made = trainer(name)
    inputs, terms = inputs_of(made), terms_of(made)
    p1, p2 = (made.network.embed(inputs[f"view-{i}"]).projection.double() for i in (1, 2))
    expected = printed(p1, p2, WEIGHTS)
    if name == "care-vicreg":
        expected += 0.1 * terms["train/equivariance"].item()
    assert terms["train/loss"].item() == pytest.approx(expected, rel=1e-5)
