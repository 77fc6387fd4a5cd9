from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from care.objectives.equivariance import equivariance_loss
from tests.helpers.points import orthogonal, sphere

Scale = Literal["mean", "authors"]
shapes = {
    "splits": st.integers(1, 4),
    "size": st.integers(2, 6),
    "dim": st.integers(2, 6),
    "seed": st.integers(0, 1000),
}


def brute_force_mean(z1: Tensor, z2: Tensor, splits: int) -> float:
    """Mean over ordered pairs of different images of a chunk, then over chunks."""
    size = len(z1) // splits
    chunk_means = []
    for first in range(0, len(z1), size):
        chunk = range(first, first + size)
        terms = [
            (float(z1[i] @ z1[j]) - float(z2[i] @ z2[j])) ** 2
            for i in chunk
            for j in chunk
            if i != j
        ]
        chunk_means.append(sum(terms) / len(terms))
    return sum(chunk_means) / len(chunk_means)


def brute_force_authors(z1: Tensor, z2: Tensor, splits: int) -> float:
    """The authors' ``2 * mean_i sum_{j != i} dG^2`` of each chunk, averaged over chunks."""
    total = 0.0
    for a, b in zip(z1.chunk(splits), z2.chunk(splits), strict=True):
        squares = (a @ a.T - b @ b.T) ** 2
        rows = [sum(float(squares[i, j]) for j in range(len(a)) if j != i) for i in range(len(a))]
        total += 2 * sum(rows) / len(rows)
    return total / splits


@settings(deadline=None)
@given(**shapes)
def test_equals_the_loop_over_pairs(splits: int, size: int, dim: int, seed: int) -> None:
    z1, z2 = sphere(splits * size, dim, seed), sphere(splits * size, dim, seed + 1)
    mean = float(equivariance_loss(z1, z2, splits, "mean"))
    authors = float(equivariance_loss(z1, z2, splits, "authors"))
    assert mean == pytest.approx(brute_force_mean(z1, z2, splits), rel=1e-10, abs=1e-14)
    assert authors == pytest.approx(brute_force_authors(z1, z2, splits), rel=1e-10, abs=1e-14)
    assert authors == pytest.approx(2 * (size - 1) * mean, rel=1e-12, abs=1e-14)


def test_images_themselves_are_no_pair() -> None:
    """Off the sphere an image's own inner product differs too, and must not count."""
    z1 = torch.diag(torch.tensor([1.0, 2.0, 3.0]))
    assert equivariance_loss(z1, 5 * z1, 1, "mean") == 0


@pytest.mark.parametrize("scale", ["mean", "authors"])
def test_gradient(scale: Scale) -> None:
    z1, z2 = sphere(6, 3, 0).requires_grad_(), sphere(6, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: equivariance_loss(a, b, 2, scale), (z1, z2))


@settings(deadline=None)
@given(**shapes)
def test_is_zero_if_every_chunk_turns_as_one(splits: int, size: int, dim: int, seed: int) -> None:
    """Proposition 1; reflections count, for f(a(x)) = R f(x) asks for R in O(d)."""
    z1 = sphere(splits * size, dim, seed)
    turned = [
        chunk @ orthogonal(dim, seed + index).T for index, chunk in enumerate(torch.split(z1, size))
    ]
    assert float(equivariance_loss(z1, torch.cat(turned), splits, "mean")) < 1e-28


def test_is_clearly_positive_for_unrelated_embeddings() -> None:
    """For independent points on S^{d-1}, E (G - G')^2 = 2/d."""
    dim = 8
    loss = equivariance_loss(sphere(512, dim, 0), sphere(512, dim, 1), 1, "mean")
    assert float(loss) == pytest.approx(2 / dim, rel=0.1)


def test_is_clearly_positive_if_chunks_turn_differently_but_are_taken_as_one() -> None:
    z1 = sphere(16, 4, 0)
    z2 = torch.cat([z1[:8] @ orthogonal(4, 0), z1[8:] @ orthogonal(4, 1)])
    assert float(equivariance_loss(z1, z2, 2, "mean")) < 1e-28
    assert float(equivariance_loss(z1, z2, 1, "mean")) > 0.01


@settings(deadline=None)
@given(**shapes)
def test_order_within_chunks_and_global_turns_change_nothing(
    splits: int, size: int, dim: int, seed: int
) -> None:
    z1, z2 = sphere(splits * size, dim, seed), sphere(splits * size, dim, seed + 1)
    expected = equivariance_loss(z1, z2, splits, "authors")
    rng = torch.Generator().manual_seed(seed)
    order = torch.cat(
        [torch.randperm(size, generator=rng) + chunk * size for chunk in range(splits)]
    )
    turn1, turn2 = orthogonal(dim, seed), orthogonal(dim, seed + 1)
    shuffled = equivariance_loss(z1[order], z2[order], splits, "authors")
    turned = equivariance_loss(z1 @ turn1, z2 @ turn2, splits, "authors")
    swapped = equivariance_loss(z2, z1, splits, "authors")
    torch.testing.assert_close(shuffled, expected, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(turned, expected, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(swapped, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("splits", [4, 6])
def test_chunks_that_do_not_fit_are_refused(splits: int) -> None:
    with pytest.raises(ValueError, match=f"in {splits} chunks"):
        equivariance_loss(sphere(6, 3, 0), sphere(6, 3, 1), splits, "mean")


def test_views_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        equivariance_loss(sphere(6, 3, 0), sphere(4, 3, 1), 2, "mean")


def test_autocast_does_not_reach_the_loss() -> None:
    z1, z2 = sphere(8, 16, 0).float(), sphere(8, 16, 1).float()
    expected = equivariance_loss(z1, z2, 2, "mean")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(equivariance_loss(z1, z2, 2, "mean"), expected)
    assert equivariance_loss(z1.bfloat16(), z2.bfloat16(), 2, "mean").dtype == torch.float32
