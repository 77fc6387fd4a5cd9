"""What every loss must not depend on: the order of the batch, and a turn of the whole space."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as fn

from care.objectives.alignment import alignment, negatives_energy, positive_cosine, uniformity
from care.objectives.barlow_twins import barlow_twins_loss
from care.objectives.byol import byol_loss
from care.objectives.equivariance import equivariance_loss
from care.objectives.infonce import infonce
from care.objectives.moco import queue_infonce
from tests.helpers.points import orthogonal, shuffled, sphere

Loss = Callable[[Tensor, Tensor], Tensor]
# All of two views; the queue of MoCo is the second view's, in reverse, so that it turns with them.
LOSSES: dict[str, Loss] = {
    "infonce": lambda z1, z2: infonce(z1, z2, 0.3),
    "queue": lambda z1, z2: queue_infonce(z1, z2, -z2.flip(0), 0.3),
    "alignment": alignment,
    "positive-cosine": positive_cosine,
    "uniformity": lambda z1, z2: uniformity(z1),
    "negatives": lambda z1, z2: negatives_energy(z1, z2, 0.3),
    "byol": byol_loss,
    "barlow": lambda z1, z2: barlow_twins_loss(z1, z2, 0.1),
    "equivariance": lambda z1, z2: equivariance_loss(z1, z2, 1, "authors"),
}
TURNED_APART = {"uniformity", "equivariance"}
SHAPES = {"count": st.integers(2, 6), "dim": st.integers(2, 6), "seed": st.integers(0, 1000)}


def assert_same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
@settings(deadline=None)
@given(**SHAPES)
def test_the_order_of_the_batch_changes_nothing(name: str, count: int, dim: int, seed: int) -> None:
    z1, z2 = sphere(count, dim, seed), sphere(count, dim, seed + 1)
    order = shuffled(count, seed)
    assert_same(LOSSES[name](z1[order], z2[order]), LOSSES[name](z1, z2))


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"barlow"}))
@settings(deadline=None)
@given(**SHAPES)
def test_a_turn_of_the_whole_space_changes_nothing(
    name: str, count: int, dim: int, seed: int
) -> None:
    z1, z2, turn = sphere(count, dim, seed), sphere(count, dim, seed + 1), orthogonal(dim, seed)
    assert_same(LOSSES[name](z1 @ turn, z2 @ turn), LOSSES[name](z1, z2))


def test_barlow_twins_alone_has_axes() -> None:
    z1, z2, turn = sphere(12, 4, 0), sphere(12, 4, 1), orthogonal(4, 0)
    loss = LOSSES["barlow"]
    assert not torch.allclose(loss(z1 @ turn, z2 @ turn), loss(z1, z2), rtol=1e-3)


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"negatives"}))
def test_who_belongs_to_whom_matters_to_all_but_uniformity(name: str) -> None:
    z1 = sphere(8, 4, 0)
    z2 = fn.normalize(z1 + 0.1 * sphere(8, 4, 1), dim=1)
    right, mixed = LOSSES[name](z1, z2), LOSSES[name](z1, z2.roll(1, 0))
    if name == "uniformity":
        assert mixed == right
    elif name == "positive-cosine":
        assert mixed < right - 0.1
    else:
        assert mixed > right + 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_only_l_equi_and_uniformity_are_blind_to_a_turn_of_one_view(name: str) -> None:
    """An augmentation that turns all embeddings costs L_equi nothing, the others very much."""
    z1, z2, turn = sphere(8, 4, 0), sphere(8, 4, 1), orthogonal(4, 0)
    turned, before = LOSSES[name](z1, z2 @ turn), LOSSES[name](z1, z2)
    assert torch.allclose(turned, before, rtol=1e-9) is (name in TURNED_APART)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    z1, z2 = sphere(5, 3, 0).requires_grad_(), sphere(5, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(LOSSES[name], (z1, z2))
