"""Levels are compared by value, and files hold them without loss."""

from __future__ import annotations

import math
from typing import Any

import pytest

from analysis.levels import order_levels, to_column, to_level


def test_equal_values_are_one_level() -> None:
    assert len({to_level(value) for value in (1e-3, 0.001)}) == 1
    assert len({to_level(value) for value in (1, 1.0)}) == 1
    assert math.copysign(1, to_level(-0.0)) == 1
    assert to_level([0.2, [1.0]]) == (0.2, (1.0,))
    assert to_level({"b": 1, "a": 2}) == to_level({"a": 2, "b": 1})
    different: list[Any] = [None, False, 0.5, "null", [], {}]
    assert len(set(map(to_level, different))) == 6


def test_numbers_ascend_and_others_stay_as_declared() -> None:
    assert order_levels([1, 0.1, 1, -2]) == [-2, 0.1, 1]
    assert order_levels([512, None, 100]) == [512, None, 100]
    assert order_levels([True, False]) == [True, False]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([0.1, 2], [0.1, 2]),
        ([True, False], [True, False]),
        ([None, 0.1], ["null", "0.1"]),
        ([(0.2, 1.0), None], ["[0.2, 1]", "null"]),
        (["auto", 1], ["auto", "1"]),
    ],
)
def test_a_column_has_one_type(levels: list[Any], expected: list[Any]) -> None:
    assert to_column(levels) == expected
