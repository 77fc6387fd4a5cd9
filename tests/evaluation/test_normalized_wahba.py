from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes
from scipy.stats import special_ortho_group
from torch import Tensor
from torch.nn import functional as fn

from care.evaluation.normalized_wahba import (
    FOLDS,
    SPAN,
    NormalizedWahba,
    equivariance_over_random,
    exchange_directions,
    squared_gram_difference,
    wahba_over_movement,
)
from care.evaluation.results import UndefinedError
from care.evaluation.rotation import gamma

COUNT = 600
RATIOS = ("wahba_over_movement", "wahba_over_movement_span", "equivariance_over_random")


def sphere(count: int, dim: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return fn.normalize(torch.randn(count, dim, generator=rng, dtype=torch.float64), dim=1)


def rotation(dim: int, seed: int) -> Tensor:
    return torch.from_numpy(special_ortho_group.rvs(dim, random_state=seed))


def measured(clean: Tensor, *views: Tensor) -> dict[str, float]:
    measures = NormalizedWahba(clean, 300)
    for index, view in enumerate(views):
        rng = torch.Generator().manual_seed(index)
        measures.add(view, torch.randperm(len(clean), generator=rng))
    return {name: value for part in measures.measures() for name, value in part().items()}


def noisy(clean: Tensor, strength: float, seed: int) -> Tensor:
    """Each point moves by a random amount in a direction of its own."""
    return fn.normalize(clean + strength * sphere(len(clean), clean.shape[1], seed), dim=1)


def kabsch(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best rotation R of y ≈ R x, for rows, as the textbook writes it."""
    left, _, right = np.linalg.svd(y.T @ x)
    signs = np.ones(len(left))
    signs[-1] = np.linalg.det(left) * np.linalg.det(right)
    result: NDArray[np.float64] = left @ np.diag(signs) @ right
    return result


@settings(deadline=None, max_examples=20)
@given(count=st.integers(12, 30), dim=st.integers(2, 6), seed=st.integers(0, 1000))
def test_over_movement_is_the_error_on_points_that_the_fit_did_not_see(
    count: int, dim: int, seed: int
) -> None:
    clean, moved = sphere(count, dim, seed), noisy(sphere(count, dim, seed), 0.5, seed + 1)
    x, y = clean.numpy(), moved.numpy()
    rotated = still = 0.0
    for index in range(count):
        seen = [other for other in range(count) if other % FOLDS != index % FOLDS]
        before, after = x[seen].mean(0), y[seen].mean(0)
        best = kabsch(x[seen] - before, y[seen] - after)
        rotated += math.dist(best @ (x[index] - before) + after, y[index]) ** 2
        still += math.dist(x[index] - before + after, y[index]) ** 2
    assert wahba_over_movement(clean, moved) == pytest.approx(rotated / still, rel=1e-9)


@pytest.mark.parametrize("dim", [3, 16])
def test_a_rotation_is_at_zero(dim: int) -> None:
    clean = sphere(COUNT, dim, 0)
    values = measured(clean, clean @ rotation(dim, 1).T, clean @ rotation(dim, 2).T)
    for name in (*RATIOS, "wahba_over_random", "wahba_centered", "wahba_span"):
        assert values[name] == pytest.approx(0, abs=1e-6), name
    assert values["movement"] > 0.1
    assert values["wahba_random"] > 1


@pytest.mark.parametrize("dim", [4, 32])
@pytest.mark.parametrize("strength", [0.05, 1, 1e6])
def test_movement_without_a_rotation_is_at_one_for_any_size_and_dimension(
    dim: int, strength: float
) -> None:
    clean = sphere(COUNT, dim, 0)
    values = measured(clean, *(noisy(clean, strength, seed) for seed in range(1, 4)))
    for name in RATIOS:
        assert values[name] == pytest.approx(1, abs=0.08), name


def test_printed_measures_of_noise_depend_on_its_size() -> None:
    """The reason for the ratios: noise alone halves γ_f as it grows, and has a small residual."""
    clean = sphere(COUNT, 32, 0)
    small, large = noisy(clean, 0.1, 1), noisy(clean, 1, 1)
    assert gamma(clean, small[None]).mean > 10 * gamma(clean, large[None]).mean
    values = measured(clean, small)
    assert values["wahba_centered"] < 0.1
    assert values["wahba_over_random"] < 0.01


@pytest.mark.parametrize(("dim", "strength"), [(32, 0.1), (128, 0.3)])
def test_gamma_of_noise_is_two_over_dimension_and_squared_movement(
    dim: int, strength: float
) -> None:
    clean = sphere(COUNT, dim, 0)
    moved = noisy(clean, strength, 1)
    squared = float((moved - clean).square().sum(1).mean())
    assert gamma(clean, moved[None]).mean == pytest.approx(2 / (dim * squared), rel=0.1)


@settings(deadline=None, max_examples=50)
@given(dim=st.integers(2, 6), seed=st.integers(0, 1000), strength=st.floats(0.01, 10))
def test_l_equi_bounds_the_residual_through_the_smallest_singular_value(
    dim: int, seed: int, strength: float
) -> None:
    """Tu et al., arXiv 1507.03566, Lemma 5.4, which docs/paper.md §2 cites."""
    clean = sphere(20, dim, seed)
    moved = noisy(clean @ rotation(dim, seed).T, strength, seed + 1)
    free, _ = orthogonal_procrustes(clean.numpy(), moved.numpy())
    error = float(np.linalg.norm(clean.numpy() @ free - moved.numpy())) ** 2
    grams = float((moved @ moved.T - clean @ clean.T).square().sum())
    smallest = float(torch.linalg.svdvals(clean)[-1]) ** 2
    assert grams >= 2 * (math.sqrt(2) - 1) * smallest * error * (1 - 1e-9)


def test_unrelated_points_are_at_one_relative_to_a_random_pairing() -> None:
    clean = sphere(COUNT, 8, 0)
    values = measured(clean, *(sphere(COUNT, 8, seed) for seed in (1, 2, 3)))
    assert values["wahba_over_random"] == pytest.approx(1, abs=0.02)
    assert values["movement"] == pytest.approx(2, abs=0.1)


def test_a_common_offset_changes_no_centered_residual() -> None:
    clean = sphere(60, 5, 0)
    turned = clean @ rotation(5, 1).T
    shifted = measured(clean, turned + torch.tensor([1.0, 0, 0, 2, 0]))
    assert shifted["wahba_centered"] == pytest.approx(0, abs=1e-7)


def test_the_span_has_the_fewest_axes_with_most_of_the_variance() -> None:
    widths = torch.tensor([10.0, 5, 1, 0.1, 0.1], dtype=torch.float64)
    clean = fn.normalize(sphere(COUNT, 5, 0) * widths, dim=1)
    spectrum = np.sort(np.linalg.eigvalsh(np.cov(clean.numpy().T)))[::-1]
    count = int(measured(clean, noisy(clean, 0.1, 1))["span_dim"])
    assert spectrum[:count].sum() >= SPAN * spectrum.sum() > spectrum[: count - 1].sum()
    assert count == 2


def test_noise_outside_of_the_span_is_left_out_of_its_residual() -> None:
    clean = fn.normalize(torch.cat([sphere(COUNT, 3, 0), torch.zeros(COUNT, 5)], dim=1), dim=1)
    noise = torch.cat([torch.zeros(COUNT, 3), 0.2 * sphere(COUNT, 5, 1)], dim=1)
    turn = torch.eye(8, dtype=torch.float64)
    turn[:3, :3] = rotation(3, 2)
    values = measured(clean, fn.normalize(clean @ turn.T + noise, dim=1))
    assert values["wahba_span"] < 0.1 * values["wahba_centered"]
    assert values["wahba_over_movement_span"] < 0.1 * values["wahba_over_movement"]


def test_l_equi_equals_the_loop() -> None:
    clean, moved = sphere(9, 4, 0), sphere(9, 4, 1)
    squares = [
        (float(moved[i] @ moved[j]) - float(clean[i] @ clean[j])) ** 2
        for i, j in itertools.permutations(range(9), 2)
    ]
    assert squared_gram_difference(clean, moved) == pytest.approx(sum(squares) / len(squares))


def test_the_ratio_of_one_augmentation_is_that_of_the_accumulated_measure() -> None:
    clean, moved = sphere(60, 5, 0), noisy(sphere(60, 5, 0), 0.5, 1)
    pairing = torch.arange(60).roll(7)
    measures = NormalizedWahba(clean, 60)
    measures.add(moved, pairing)
    ratio = measures.equivariance_over_random()["equivariance_over_random"]
    assert equivariance_over_random(clean, moved, pairing) == pytest.approx(ratio)
    with pytest.raises(UndefinedError, match="do not move the embeddings"):
        equivariance_over_random(clean, clean, pairing)


def test_exchanged_directions_keep_each_movement_and_the_sphere() -> None:
    clean, moved = sphere(50, 6, 0), noisy(sphere(50, 6, 0), 0.7, 1)
    pairing = torch.arange(50).roll(1)
    exchanged = exchange_directions(clean, moved, pairing)
    torch.testing.assert_close(exchanged.norm(dim=1), torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close((exchanged - clean).norm(dim=1), (moved - clean).norm(dim=1))
    own = exchange_directions(clean, moved, torch.arange(50))
    torch.testing.assert_close(own, moved)


@pytest.mark.parametrize(
    ("count", "view", "reason"),
    [
        (10, lambda clean: clean.flip(0), "10 images are too few to fit a rotation of 8 dim"),
        (40, lambda clean: clean, "do not move the embeddings"),
    ],
)
def test_undefined_ratios_have_a_reason(
    count: int, view: Callable[[Tensor], Tensor], reason: str
) -> None:
    clean = sphere(count, 8, 0)
    with pytest.raises(UndefinedError, match=reason):
        wahba_over_movement(clean, view(clean))
    measures = NormalizedWahba(clean, count)
    measures.add(view(clean), torch.arange(count).roll(1))
    with pytest.raises(UndefinedError, match=reason):
        measures.over_movement()
