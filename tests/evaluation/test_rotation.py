from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional as fn

from care.evaluation.results import UndefinedError
from care.evaluation.rotation import RotationMeasures, best_rotations, gamma, residual, wahba
from care.objectives.equivariance import equivariance_loss

shapes = {"count": st.integers(2, 9), "dim": st.integers(2, 6), "seed": st.integers(0, 1000)}


def sphere(count: int, dim: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return fn.normalize(torch.randn(count, dim, generator=rng, dtype=torch.float64), dim=1)


def rotation(dim: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    q: Tensor = torch.linalg.qr(torch.randn(dim, dim, generator=rng, dtype=torch.float64)).Q
    q[:, 0] *= torch.linalg.det(q).sign()
    return q


def distance(turn: Tensor, f: Tensor, fa: Tensor) -> float:
    """‖R F - F_a‖_F for embeddings in rows."""
    return math.sqrt(
        sum(math.dist((turn @ x).tolist(), y.tolist()) ** 2 for x, y in zip(f, fa, strict=True))
    )


@settings(deadline=None)
@given(count=st.integers(3, 9), seed=st.integers(0, 1000))
def test_wahba_agrees_with_scipy_in_three_dimensions(count: int, seed: int) -> None:
    f, fa = sphere(count, 3, seed), sphere(count, 3, seed + 1)
    expected = Rotation.align_vectors(fa.numpy(), f.numpy())[1]
    assert wahba(f, fa) == pytest.approx(expected, rel=1e-6)


@settings(deadline=None)
@given(**shapes)
def test_best_rotation_is_procrustes_kept_in_so_d(count: int, dim: int, seed: int) -> None:
    f, fa = sphere(count, dim, seed), sphere(count, dim, seed + 1)
    found, orthogonal = best_rotations(f, fa)
    for matrix in (found, orthogonal):
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(dim, dtype=torch.float64))
    assert float(torch.linalg.det(found)) == pytest.approx(1)
    assert wahba(f, fa) == pytest.approx(distance(found, f, fa), rel=1e-9, abs=1e-12)
    free, _ = orthogonal_procrustes(f.numpy(), fa.numpy())
    unconstrained = float(np.linalg.norm(f.numpy() @ free - fa.numpy()))
    assert residual(orthogonal, f, fa) == pytest.approx(unconstrained, rel=1e-9, abs=1e-9)
    if count < dim or np.linalg.det(free) > 0:
        assert wahba(f, fa) == pytest.approx(unconstrained, rel=1e-9, abs=1e-9)
    else:
        assert wahba(f, fa) > unconstrained


@settings(deadline=None)
@given(**shapes)
def test_no_other_rotation_does_better(count: int, dim: int, seed: int) -> None:
    f, fa = sphere(count, dim, seed), sphere(count, dim, seed + 1)
    for other in range(5):
        assert wahba(f, fa) <= distance(rotation(dim, seed + other), f, fa) + 1e-12
    skew = 1e-2 * sphere(dim, dim, seed)
    near = best_rotations(f, fa).proper @ torch.matrix_exp(skew - skew.T)
    assert wahba(f, fa) <= distance(near, f, fa) + 1e-12


@settings(deadline=None)
@given(**shapes)
def test_wahba_of_an_exact_rotation_is_zero(count: int, dim: int, seed: int) -> None:
    f = sphere(count, dim, seed)
    assert wahba(f, f @ rotation(dim, seed).T) < 1e-12


def test_wahba_closed_forms() -> None:
    """-I turns into a rotation for an even d only; a reflection of one axis costs its length 2."""
    for dim, expected in [(2, 0.0), (3, 2.0), (4, 0.0), (5, 2.0)]:
        basis = torch.eye(dim, dtype=torch.float64)
        assert wahba(basis, -basis) == pytest.approx(expected, abs=1e-12)
    mirrored = torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0]))
    assert wahba(torch.eye(4), mirrored) == pytest.approx(2)
    assert wahba(torch.eye(4)[:2], mirrored[1:3]) == pytest.approx(0, abs=1e-7)
    collapsed = torch.eye(4)[:1].expand(9, 4)
    halves = torch.cat([collapsed[:5], -collapsed[:4]])
    assert wahba(collapsed, halves) == pytest.approx(math.sqrt(4 * 2**2))


def brute_force_ratios(f: Tensor, augmented: list[Tensor]) -> list[float]:
    """docs/paper.md §2, one ordered pair at a time, without those of 0/0."""

    def squared(a: Tensor, b: Tensor) -> float:
        return math.dist(a.tolist(), b.tolist()) ** 2

    ratios = []
    for fa in augmented:
        for i, j in itertools.permutations(range(len(f)), 2):
            numerator = (squared(fa[j], fa[i]) - squared(f[j], f[i])) ** 2
            denominator = (squared(fa[j], f[j]) + squared(fa[i], f[i])) ** 2
            if denominator:
                ratios.append(numerator / denominator)
    return ratios


@settings(deadline=None)
@given(augmentations=st.integers(1, 3), **shapes)
def test_gamma_equals_the_loop(augmentations: int, count: int, dim: int, seed: int) -> None:
    f = sphere(count, dim, seed)
    augmented = [sphere(count, dim, seed + 1 + index) for index in range(augmentations)]
    ratios = brute_force_ratios(f, augmented)
    measured = gamma(f, torch.stack(augmented))
    assert measured.mean == pytest.approx(statistics.fmean(ratios), rel=1e-9)
    assert measured.median == pytest.approx(statistics.median(ratios), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("dim", [2, 3])
def test_gamma_closed_form_of_two_points_moved_apart(dim: int) -> None:
    """Points at 0 and α on a circle, turned by θ and by -θ: not a rotation of both."""
    alpha, theta = 1.1, 0.3

    def at(*angles: float) -> Tensor:
        angle = torch.tensor(angles, dtype=torch.float64)
        points = torch.stack([angle.cos(), angle.sin()], dim=1)
        return fn.pad(points, (0, dim - 2))

    change = 2 * math.cos(alpha) - 2 * math.cos(alpha - 2 * theta)
    expected = change**2 / (4 - 4 * math.cos(theta)) ** 2
    measured = gamma(at(0, alpha), at(theta, alpha - theta).unsqueeze(0))
    assert measured.mean == pytest.approx(expected, rel=1e-10)
    assert measured.median == measured.mean


@settings(deadline=None)
@given(**shapes)
def test_gamma_of_an_isometry_is_zero(count: int, dim: int, seed: int) -> None:
    f = sphere(count, dim, seed)
    turned = f @ rotation(dim, seed).T
    assert gamma(f, torch.stack([turned, -f])).mean < 1e-20


@settings(deadline=None)
@given(**shapes)
def test_a_turn_of_the_whole_space_changes_nothing(count: int, dim: int, seed: int) -> None:
    f, fa = sphere(count, dim, seed), sphere(count, dim, seed + 1)
    turn = rotation(dim, seed).T
    before, after = gamma(f, fa.unsqueeze(0)), gamma(f @ turn, (fa @ turn).unsqueeze(0))
    assert after.mean == pytest.approx(before.mean, rel=1e-8, abs=1e-12)
    assert after.median == pytest.approx(before.median, rel=1e-8, abs=1e-12)
    assert wahba(f @ turn, fa @ turn) == pytest.approx(wahba(f, fa), abs=1e-9)


def test_numerator_is_four_times_the_equivariance_summand() -> None:
    """With all points moved by an equal distance, γ is 4 L_equi over a constant."""
    f = sphere(6, 5, 0)
    tangents = sphere(6, 5, 1)
    tangents = fn.normalize(tangents - (tangents * f).sum(1, keepdim=True) * f, dim=1)
    fa = math.cos(0.4) * f + math.sin(0.4) * tangents
    shift = 2 - 2 * math.cos(0.4)
    expected = 4 * float(equivariance_loss(f, fa, 1, "mean")) / (2 * shift) ** 2
    assert gamma(f, fa.unsqueeze(0)).mean == pytest.approx(expected, rel=1e-10)


def test_pairs_that_do_not_move_are_left_out() -> None:
    f = sphere(6, 4, 0)
    two_moved = torch.cat([f[:4], sphere(2, 4, 2)])
    ratios = brute_force_ratios(f, [two_moved])
    assert len(ratios) == 6 * 5 - 4 * 3
    assert gamma(f, two_moved.unsqueeze(0)).mean == pytest.approx(statistics.fmean(ratios))


def test_where_most_pairs_do_not_move_there_is_no_gamma() -> None:
    f = sphere(6, 4, 0)
    rounding = f + 1e-8 * sphere(6, 4, 1)  # what float32 leaves of an identity
    one_moved = torch.cat([f[:5], sphere(1, 4, 2)])
    point = sphere(1, 4, 0).expand(6, 4)
    for clean, moved in ((f, f), (f, rounding), (f, one_moved), (point, point)):
        with pytest.raises(UndefinedError, match=r"do not move \d+ of 15 pairs"):
            gamma(clean, moved.unsqueeze(0))
    measures = RotationMeasures(f, gamma_images=6)
    measures.add(f)
    assert math.isnan(measures.gammas()[0])


def test_broken_embeddings_have_no_good_gamma() -> None:
    f = sphere(6, 4, 0)
    broken = f.clone()
    broken[2] = torch.nan
    assert math.isnan(gamma(f.roll(1, 0), broken.unsqueeze(0)).mean)
    with pytest.raises(UndefinedError):
        gamma(broken, broken.unsqueeze(0))


def test_measures_normalize_and_average_over_augmentations() -> None:
    clean, first, second = (3 * sphere(8, 4, seed) for seed in range(3))
    measures = RotationMeasures(clean, gamma_images=5)
    for augmented in (first, second):
        measures.add(7 * augmented)
    summary = {**measures.wahba(), **measures.gamma()}
    points = [fn.normalize(features, dim=1) for features in (clean, first, second)]
    expected = (wahba(points[0], points[1]) + wahba(points[0], points[2])) / 2
    assert summary["wahba"] == pytest.approx(expected)
    assert summary["wahba_per_sqrt_n"] == pytest.approx(expected / math.sqrt(8))
    assert measures.residuals == pytest.approx(
        [wahba(points[0], moved) / math.sqrt(8) for moved in points[1:]]
    )
    relative = gamma(points[0][:5], torch.stack([points[1][:5], points[2][:5]]))
    assert (summary["gamma"], summary["gamma_median"]) == pytest.approx(relative)
    assert sum(measures.gammas()) / 2 == pytest.approx(relative.mean)


def test_a_reflection_costs_nothing_over_o_d() -> None:
    clean = sphere(8, 4, 0)
    measures = RotationMeasures(clean, gamma_images=5)
    turn = measures.add(clean * torch.tensor([1.0, 1.0, 1.0, -1.0], dtype=torch.float64))
    assert float(torch.linalg.det(turn)) == pytest.approx(1)
    summary = measures.wahba()
    assert summary["wahba_o_per_sqrt_n"] == pytest.approx(0, abs=1e-12)
    assert summary["wahba_per_sqrt_n"] > 0.1
