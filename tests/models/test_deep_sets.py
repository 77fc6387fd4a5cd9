from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from care.models.deep_sets import DeepSetsEncoder
from tests.helpers.points import points, shuffled


def encoder() -> DeepSetsEncoder:
    torch.manual_seed(0)
    return DeepSetsEncoder().double()


def clouds(count: int, size: int, padding: int = 0) -> torch.Tensor:
    made = torch.zeros(count, size + padding, 4, dtype=torch.float64)
    made[:, :size, :3] = points(count * size, 3, 0).reshape(count, size, 3)
    made[:, :size, 3] = 1
    return made


@settings(deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(1, 12), padding=st.integers(0, 5))
def test_neither_order_nor_padding_matters(seed: int, size: int, padding: int) -> None:
    features = encoder()(clouds(2, size))
    padded = clouds(2, size, padding)[:, shuffled(size + padding, seed)]
    torch.testing.assert_close(encoder()(padded), features)


def test_where_the_points_lie_matters() -> None:
    features = encoder()(clouds(3, 7))
    assert features.shape == (3, encoder().feature_dim)
    assert not torch.allclose(features[0], features[1])


def test_everything_is_trained() -> None:
    made = encoder()
    made(clouds(4, 6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())
