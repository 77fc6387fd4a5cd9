from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from care.objectives.byol import BYOL, byol_loss
from tests.helpers.points import points, shuffled
from tests.helpers.stepping import inputs_of, terms_of, trainer


@settings(deadline=None)
@given(count=st.integers(1, 6), dim=st.integers(2, 5), seed=st.integers(0, 1000))
def test_is_the_squared_distance_on_the_sphere(count: int, dim: int, seed: int) -> None:
    predictions, targets = points(count, dim, seed), points(count, dim, seed + 1)
    expected = 0.0
    for q, z in zip(predictions.tolist(), targets.tolist(), strict=True):
        q_norm, z_norm = math.hypot(*q), math.hypot(*z)
        expected += sum((a / q_norm - b / z_norm) ** 2 for a, b in zip(q, z, strict=True))
    loss = byol_loss(predictions, targets)
    assert float(loss) == pytest.approx(expected / count, rel=1e-9)
    order = shuffled(count, seed)
    assert float(byol_loss(3 * predictions[order], targets[order])) == pytest.approx(float(loss))


def test_both_directions_count_and_the_target_is_not_trained() -> None:
    made = trainer("byol")
    byol = made.objective.base
    assert isinstance(byol, BYOL)
    inputs = inputs_of(made)
    first, second = inputs["view-1"], inputs["view-2"]
    target = [byol.target.network.embed(images).projection.detach() for images in (first, second)]
    predicted = [
        byol.predictor(made.network.embed(images).projection) for images in (first, second)
    ]
    expected = byol_loss(predicted[0], target[1]) + byol_loss(predicted[1], target[0])
    loss = terms_of(made)["train/loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(
        p.grad is not None for p in (*made.network.parameters(), *byol.predictor.parameters())
    )
    assert all(p.grad is None for p in byol.target.parameters())


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.996), (0.5, 0.998), (1.0, 1.0)])
def test_the_target_follows_ever_more_slowly(progress: float, momentum: float) -> None:
    made = trainer("byol")
    before = [p.detach().clone() for p in made.network.parameters()]
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.add_(1000)
    made.objective.after_step(made.network, progress)
    target = made.objective.base.target.network.parameters()  # type: ignore[union-attr]
    for old, new in zip(before, target, strict=True):
        torch.testing.assert_close(
            new - old, torch.full_like(old, 1000 * (1 - momentum)), rtol=1e-3, atol=1e-3
        )
