"""Intervals and differences against scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics import estimate, estimate_rows, paired_differences, spearman

values = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30)


@given(values)
def test_interval_is_scipys(data: list[float]) -> None:
    found = estimate(data)
    assert found.n == len(data)
    assert found.mean == pytest.approx(np.mean(data), abs=1e-9)
    if np.std(data) > 1e-6:
        low, high = stats.t.interval(0.95, len(data) - 1, loc=np.mean(data), scale=stats.sem(data))
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


floats = st.floats(-1e3, 1e3) | st.sampled_from([math.nan, math.inf, -math.inf])
tables = st.integers(1, 12).flatmap(
    lambda seeds: st.lists(st.lists(floats, min_size=seeds, max_size=seeds), min_size=1)
)


@given(tables)
def test_rows_are_estimated_as_each_alone(rows: list[list[float]]) -> None:
    found = estimate_rows(np.array(rows))
    for index, row in enumerate(rows):
        one, alone = found.row(index), estimate(row)
        assert one.n == alone.n
        numbers = (one.mean, one.low, one.high)
        expected = (alone.mean, alone.low, alone.high)
        assert numbers == pytest.approx(expected, rel=1e-12, abs=1e-9, nan_ok=True)
        if len(row) < 8:  # numpy adds fewer numbers one after another, in either case
            assert one == alone or alone.n < 2


def test_three_seeds_by_hand() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert (found.low, found.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert (found.value, found.interval) == ("2.000", "± 2.484, n = 3")
    assert estimate([-0.002, -0.002]).value == "−0.002"
    assert estimate([0.00004]).value == "4e−05"
    assert estimate([91.926, 91.926], digits=2).value == "91.93"
    assert estimate([-0.4, -0.4, -0.4]).interval == "± 0.000, n = 3"
    assert not found.excludes_zero
    assert estimate([1.0, 1.1, 1.2]).excludes_zero


def test_one_value_has_no_interval_and_says_so() -> None:
    found = estimate([0.5, math.nan, math.inf])
    assert found.n == 1
    assert math.isnan(found.low)
    assert (found.value, found.interval) == ("0.500", "n = 1")
    assert not found.excludes_zero


def test_no_value() -> None:
    assert (estimate([]).value, estimate([]).interval) == ("–", "n = 0")


def test_pairs_need_both_seeds() -> None:
    found = paired_differences(
        pd.Series({0: 1.0, 1: 2.0, 3: 9.0}), pd.Series({0: 0.5, 1: 0.0, 2: 7.0})
    )
    assert found.to_dict() == {0: 0.5, 1: 2.0}


@given(st.permutations(range(6)))
def test_spearman_closed_form(order: list[int]) -> None:
    distance = sum((a - b) ** 2 for a, b in enumerate(order))
    assert spearman(list(range(6)), order).rho == pytest.approx(1 - 6 * distance / (6 * 35))


def test_spearman_of_a_constant_is_not_a_number() -> None:
    assert math.isnan(spearman([0, 1, 2], [5.0, 5.0, 5.0]).rho)
    assert math.isnan(spearman([0, 1], [1.0, 2.0]).rho)
