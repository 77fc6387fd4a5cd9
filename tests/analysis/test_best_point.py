"""The best point: only what is comparable is compared, and nearly collapsed points are left out."""

from __future__ import annotations

import statistics
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.best_point import find_best_point

seeds = st.dictionaries(st.integers(0, 4), st.floats(-10, 10), max_size=5)
sweeps = st.dictionaries(st.sampled_from("abcdefg"), seeds, max_size=7)
modes: st.SearchStrategy[Literal["max", "min"]] = st.sampled_from(("max", "min"))


@given(sweeps, modes, st.sets(st.sampled_from("abcdefg")))
def test_the_winner_has_the_best_mean_over_seeds_that_all_rivals_have(
    values: dict[str, dict[int, float]], mode: Literal["max", "min"], collapsed: set[str]
) -> None:
    found = find_best_point(values, mode, collapsed)
    known = {point for point, by_seed in values.items() if by_seed}
    assert set(found.collapsed) == known & collapsed
    assert set(found.compared) | set(found.other_seeds) == known - collapsed
    assert not set(found.compared) & set(found.other_seeds)
    if found.point is None:
        assert not known - collapsed
        return
    means = {
        point: statistics.fmean(values[point][seed] for seed in found.seeds)
        for point in found.compared
    }
    best = max(means.values()) if mode == "max" else min(means.values())
    assert found.mean == means[found.point] == pytest.approx(best)
    share = any(
        set(values[one]) & set(values[other])
        for one in known - collapsed
        for other in known - collapsed - {one}
    )
    assert len(found.compared) > 1 or not share


def test_a_mean_of_one_is_not_compared_with_a_mean_of_three() -> None:
    three = {0: 0.5, 1: 0.4, 2: 0.6}
    found = find_best_point({"a": three, "b": {0: 0.3, 1: 0.5, 2: 0.4}, "lucky": {0: 0.1}}, "min")
    assert (found.point, found.seeds) == ("b", (0, 1, 2))
    assert found.mean == pytest.approx(0.4)
    assert found.other_seeds == ("lucky",)
    every = {"a": three, "b": {0: 0.3, 1: 0.5, 2: 0.4}, "decided": {0: 0.1}}
    found = find_best_point(every, "min", most_points=True)
    assert (found.point, found.seeds, found.other_seeds) == ("decided", (0,), ())
    pair = find_best_point({"a": three, "lucky": {0: 0.1}}, "min")
    assert (pair.point, pair.mean, pair.seeds) == ("lucky", 0.1, (0,))
    apart = find_best_point({"a": {0: 0.5}, "b": {1: 0.1}}, "min")
    assert (apart.compared, apart.other_seeds) == (("a",), ("b",))
