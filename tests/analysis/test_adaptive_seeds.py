"""Which points get more seeds: against scipy, the closure of Bonferroni's test, and simulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.adaptive_seeds import (
    LEVEL,
    SeedChoice,
    TrialValue,
    adjust_by_holm,
    choose_seeds,
    list_looks,
    paired_p,
)
from analysis.statistics import estimate

LEAST, MOST = 3, 10
LOOKS = [3, 5, 8, 10]
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=5)


def test_looks_are_half_as_many_seeds_apart() -> None:
    assert list_looks(LEAST, MOST) == LOOKS
    assert list_looks(2, 4) == [2, 3, 4]
    assert list_looks(3, 30) == [3, 5, 8, 12, 18, 27, 30]


@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_p_value_is_scipys(n: int) -> None:
    values = np.random.default_rng(n).normal(0.5, 1, n)
    expected = stats.ttest_1samp(values, 0).pvalue
    assert paired_p(list(values)) == pytest.approx(expected, rel=1e-9)


def test_equal_differences_are_judged_by_their_signs() -> None:
    assert paired_p([0.0] * 4) == 1
    for n in (3, 7):
        assert paired_p([0.01] * n) == pytest.approx(stats.binomtest(n, n).pvalue)


@given(P_VALUES)
def test_holm_is_the_closure_of_bonferroni(p_values: list[float]) -> None:
    """A point is decided if Bonferroni refuses every set of points with it."""
    indices = range(len(p_values))
    sets = [
        chosen
        for size in range(1, len(p_values) + 1)
        for chosen in itertools.combinations(indices, size)
    ]
    for index, adjusted in enumerate(adjust_by_holm(p_values)):
        worst = max(len(one) * min(p_values[i] for i in one) for one in sets if index in one)
        assert adjusted == pytest.approx(min(1.0, worst))


Values = Callable[[int, int], TrialValue]


def of(table: Sequence[Sequence[float | None]]) -> Values:
    """Point 0 is the baseline; a missing number is a trial that failed."""
    return lambda point, seed: TrialValue(True, table[point][seed])


def choose(values: Values, points: int) -> SeedChoice:
    return choose_seeds([None, *[0] * (points - 1)], values, LEAST, MOST)


NOISE = [0.02, -0.01, 0.03, 0.0, -0.02, 0.01, 0.02, -0.03, 0.01, 0.0]
FLAT = [0.1 * (-1) ** n for n in range(MOST)]


def test_a_clear_point_stops_and_an_unclear_one_goes_on_to_the_end() -> None:
    table = [[0.0] * MOST, [5 + x for x in NOISE], FLAT]
    choice = choose(of(table), 3)
    assert choice.numbers == [10, 3, 10], "the baseline has the seeds of every comparison"
    assert [choice.verdicts[point].verdict for point in (1, 2)] == ["decided", "undecided"]
    assert [[one.point for one in look] for look in choice.history] == [[1, 2], [2], [2], [2]]
    assert not choice.waiting
    one, other = choice.verdicts[1], choice.verdicts[2]
    expected = estimate(table[1][:3])
    assert (one.difference, one.low, one.high, one.pairs) == pytest.approx(
        (expected.mean, expected.low, expected.high, 3)
    )
    p = stats.ttest_1samp(table[1][:3], 0).pvalue
    assert one.p == pytest.approx(p * len(LOOKS) * 2)  # the smaller of two, by Holm
    smallest = min(stats.ttest_1samp(FLAT[:n], 0).pvalue for n in LOOKS)
    assert other.p == pytest.approx(min(1, smallest * len(LOOKS)))


def test_nothing_is_judged_before_every_trial_of_a_look_is_over() -> None:
    def value(point: int, seed: int) -> TrialValue:
        return TrialValue(over=(point, seed) != (1, 2), value=FLAT[seed] * point)

    choice = choose(value, 3)
    assert choice.waiting
    assert choice.numbers == [3, 3, 3]
    assert not choice.verdicts


def test_values_beyond_the_seeds_of_a_look_do_not_matter() -> None:
    """Trials that another sweep trained decide nothing before it is their turn."""
    table = [[0.0] * MOST, [5 + x for x in NOISE]]
    longer = [[0.0] * MOST, [*table[1][:3], *[-1000.0] * 7]]
    assert choose(of(table), 2) == choose(of(longer), 2)


def test_failed_and_collapsed_points_get_no_more_seeds() -> None:
    table: list[list[float | None]] = [[0.0] * MOST, [None] * MOST, [1.0, None, None] * 4]

    def value(point: int, seed: int) -> TrialValue:
        if point == 3:
            return TrialValue(True, FLAT[seed], collapsed=seed == 1)
        return of(table)(point, seed)

    choice = choose(value, 4)
    assert choice.numbers == [3, 3, 3, 3]
    assert {one.verdict for one in choice.verdicts.values()} == {"not compared"}
    assert math.isnan(choice.verdicts[1].difference)


def test_each_line_has_its_own_baseline() -> None:
    clear, unclear = [5 + x for x in NOISE], FLAT
    table = [[0.0] * MOST, clear, [0.0] * MOST, unclear]
    choice = choose_seeds([None, 0, None, 2], of(table), LEAST, MOST)
    assert choice.numbers == [3, 3, 10, 10]


def test_points_without_an_effect_are_seldom_decided() -> None:
    """In at most 5 % of sweeps any is, though every look may decide it."""
    rng, points, sweeps, wrong = np.random.default_rng(0), 4, 600, 0
    for _ in range(sweeps):
        table = rng.normal(0, 1, (points, MOST)).tolist()
        verdicts = choose(of(table), points).verdicts.values()
        wrong += any(one.verdict == "decided" for one in verdicts)
    assert wrong <= stats.binom.ppf(0.999, sweeps, LEVEL)


def test_an_effect_of_two_deviations_is_found() -> None:
    rng, points, sweeps, found = np.random.default_rng(1), 4, 100, 0
    for _ in range(sweeps):
        table = rng.normal(0, 1, (points, MOST)) + np.array([[0], [3], [0], [0]])
        found += choose(of(table.tolist()), points).verdicts[1].verdict == "decided"
    assert found > 0.9 * sweeps
