from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care.packing import best_size


def seconds_a_trial(step: float, shared: float, size: int) -> float:
    return (size * (step - shared) + shared) / size


@pytest.mark.parametrize(("shared", "most", "size"), [(0.25, 8, 5), (0.5, 8, 7), (0.2, 3, 3)])
def test_the_smallest_that_comes_near_the_largest(shared: float, most: int, size: int) -> None:
    assert best_size(1.0, shared, most) == size


def test_a_large_network_is_trained_alone() -> None:
    assert best_size(10.0, 0.1, 8) == 1


@given(
    shared=st.floats(0, 0.99),
    step=st.floats(1e-3, 1e3),
    most=st.integers(1, 64),
)
def test_nearly_as_good_as_any_other_size(shared: float, step: float, most: int) -> None:
    size = best_size(step, shared * step, most)
    assert 1 <= size <= most
    best = min(seconds_a_trial(step, shared * step, other) for other in range(1, most + 1))
    mine = seconds_a_trial(step, shared * step, size)
    assert mine <= best * 1.06 or math.isclose(mine, best)
