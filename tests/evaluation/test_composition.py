from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import special_ortho_group
from torch import Tensor
from torch.nn import functional as fn

from care.evaluation.composition import composition_error, spans
from care.evaluation.rotation import best_rotations

shapes = {"dim": st.integers(2, 6), "seed": st.integers(0, 1000)}


def sphere(count: int, dim: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return fn.normalize(torch.randn(count, dim, generator=rng, dtype=torch.float64), dim=1)


def rotation(dim: int, seed: int) -> Tensor:
    return torch.from_numpy(special_ortho_group.rvs(dim, random_state=seed))


@settings(deadline=None)
@given(**shapes)
def test_exact_rotations_compose(dim: int, seed: int) -> None:
    clean = sphere(3 * dim, dim, seed)
    one, other = rotation(dim, seed), rotation(dim, seed + 1)
    first = best_rotations(clean, clean @ one.T).proper
    second = best_rotations(clean, clean @ other.T).proper
    both = best_rotations(clean, clean @ one.T @ other.T).proper
    assert composition_error(clean, first, second, both) == pytest.approx((0, 0), abs=1e-7)
    torch.testing.assert_close(first, one)
    torch.testing.assert_close(both, other @ one)


def test_the_order_is_first_then_second() -> None:
    clean, one, other = sphere(9, 3, 0), rotation(3, 1), rotation(3, 2)
    assert composition_error(clean, one, other, one @ other).matrices > 0.1


@settings(deadline=None)
@given(**shapes)
def test_the_formula(dim: int, seed: int) -> None:
    clean = sphere(3 * dim, dim, seed)
    first, second, both = (rotation(dim, seed + place) for place in range(3))
    error = composition_error(clean, first, second, both)
    squares = 0.0
    for row in range(dim):
        for column in range(dim):
            product = sum(float(second[row, k] * first[k, column]) for k in range(dim))
            squares += (float(both[row, column]) - product) ** 2
    assert error.matrices == pytest.approx(math.sqrt(squares / (2 * dim)))
    moved = [math.dist((both @ x).tolist(), (second @ first @ x).tolist()) for x in clean]
    on_data = math.sqrt(sum(length**2 for length in moved) / len(clean))
    assert error.on_data == pytest.approx(on_data)
    assert error.on_data <= 2


def test_unrelated_rotations_are_at_one_on_average() -> None:
    clean = sphere(20, 5, 0)
    errors = [
        composition_error(clean, *(rotation(5, 3 * draw + place) for place in range(3)))
        for draw in range(300)
    ]
    squares = torch.tensor(errors).square().mean(0)
    assert float(squares[0]) == pytest.approx(1, abs=0.05)


def test_embeddings_that_leave_out_a_direction_do_not_span() -> None:
    whole = sphere(9, 4, 0)
    assert spans(whole)
    assert not spans(whole[:3])
    flat = whole.clone()
    flat[:, 3] = 1e-9 * flat[:, 3]
    assert not spans(flat.float())
    assert not spans(torch.ones(9, 4))
