from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from care.training.pack import Round
from care.training.pack_size import Pace, best_size, next_size

STEP = Round({}, together=True, last=False)
LAST = Round({}, together=True, last=True)
BEHIND = Round({}, together=False, last=False)


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


def test_a_pack_on_a_gpu_doubles_while_that_pays() -> None:
    assert next_size({1: 1.0}, 8) == 2
    assert next_size({1: 1.0, 2: 1.1}, 8) == 4
    assert next_size({1: 1.0, 2: 1.1, 4: 1.5}, 6) == 6


def test_a_pack_on_a_gpu_that_gained_nothing_is_too_large() -> None:
    assert next_size({1: 1.0, 2: 1.95}, 8) == 1
    assert next_size({1: 1.0, 2: 1.2, 4: 2.4}, 8) == 2


def test_a_pack_grows_no_further_than_it_may() -> None:
    assert next_size({1: 1.0}, 1) == 1
    assert next_size({1: 1.0, 2: 1.1}, 2) == 2


def test_a_pace_is_that_of_the_steps_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 30.0, 31.0])
    monkeypatch.setattr("care.training.pack_size.time.perf_counter", lambda: next(clock))
    pace = Pace(torch.device("cpu"))
    assert [pace.measure(STEP) for _ in range(4)] == [None, None, None, 1.0]


def test_a_pace_of_fewer_steps_is_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 30.0])
    monkeypatch.setattr("care.training.pack_size.time.perf_counter", lambda: next(clock))
    pace = Pace(torch.device("cpu"))
    assert [pace.measure(STEP), pace.measure(LAST)] == [None, 15.0]


def test_a_step_that_others_wait_for_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 30.0])
    monkeypatch.setattr("care.training.pack_size.time.perf_counter", lambda: next(clock))
    pace = Pace(torch.device("cpu"))
    assert [pace.measure(BEHIND) for _ in range(9)] == [None] * 9
    assert pace.measure(LAST) == 30.0
