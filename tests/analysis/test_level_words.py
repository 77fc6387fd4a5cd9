"""The sentences of the answer: true to the paired intervals, which scipy confirms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.comparison import Comparison, compare
from analysis.findings import Answer, answer

X, METRIC, ACCURACY = "objective.equivariance.weight", "head/gamma", "encoder/probe_accuracy"
NOISE = (0.0, 0.01, -0.01)
Mode = Literal["max", "min"]


def sweep(
    levels: Sequence[Any],
    value: Callable[[Any, int], float],
    *,
    axis: str = X,
    mode: Mode = "min",
    metric: str = METRIC,
    seeds: int = 3,
    more: dict[str, Callable[[Any, int], float]] | None = None,
) -> Comparison:
    """Finished trials of one axis, with a metric by level and seed."""
    rows = [(level, seed) for level in levels for seed in range(seeds)]
    trials = pd.DataFrame(
        {
            "trial_id": [f"{level}-{seed}" for level, seed in rows],
            axis: pd.Series([level for level, _ in rows], dtype=object),
            "seed": [seed for _, seed in rows],
            "state": ["finished"] * len(rows),
            metric: [value(level, seed) for level, seed in rows],
            **{
                name: [of(level, seed) for level, seed in rows] for name, of in (more or {}).items()
            },
        }
    )
    return compare(trials, [axis], metric, mode)


def answered(comparison: Comparison) -> Answer:
    found = answer(comparison)
    assert found
    return found


def text(comparison: Comparison) -> str:
    return answered(comparison).axes[0].sentences[0].text


def step(at: float, by: float) -> Callable[[Any, int], float]:
    """A value that changes from a level on; the difference varies a little with the seed."""
    return lambda level, seed: (
        0.5 + seed / 10 + (by + NOISE[seed] if level >= at else level * NOISE[seed])
    )


LEVELS = (0.0, 0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (step(0.2, -0.3), "no clear difference from λ=0 up to λ=0.1; falls from λ=0.2 on, which is better; 0.600 at λ=0, 0.300 at λ=0.3 (−0.300 ± 0.025, n = 3)"),
        (step(0.3, 0.3), "no clear difference from λ=0 up to λ=0.2; rises at λ=0.3, which is worse; 0.600 at λ=0, 0.900 at λ=0.3 (+0.300 ± 0.025, n = 3)"),
        (step(0.1, -0.3), "falls from λ=0.1 on, which is better; 0.600 at λ=0, 0.300 at λ=0.3 (−0.300 ± 0.025, n = 3)"),
        (step(9, 0), "no clear difference from λ=0 at any of 3 levels; 0.600 at λ=0, 0.600 at λ=0.3 (+0.000 ± 0.007, n = 3)"),
        (lambda level, seed: 0.5 + NOISE[seed] * level - 0.2 * (level == 0.1) + 0.2 * (level == 0.3), "higher than at λ=0, which is worse, at λ=0.3 (+0.200 ± 0.007); lower than at λ=0, which is better, at λ=0.1 (−0.200 ± 0.002); no clear difference at λ=0.2"),
    ],
    ids=["falls-late", "rises-at-the-last", "falls-at-once", "nothing", "both-directions"],
)  # fmt: skip
def test_the_sentence_says_from_which_level_on(
    value: Callable[[Any, int], float], expected: str
) -> None:
    assert text(sweep(LEVELS, value)) == expected


def test_the_metrics_own_direction_is_the_sweeps() -> None:
    rising = sweep(LEVELS[:2], step(0.1, 0.3), mode="max")
    assert text(rising).endswith("which is better")
    falling = sweep(LEVELS[:2], step(0.1, -0.3), mode="max")
    assert text(falling).endswith("which is worse")


def test_names_are_sorted_by_their_verdict() -> None:
    gains = {"SimCLR": 0.0, "CARE": 0.2, "BYOL": -0.1, "MoCo": 0.001}
    found = sweep(
        list(gains),
        lambda name, seed: 0.5 + gains[name] + (NOISE[seed] if name == "MoCo" else seed * 1e-4),
        axis="variant",
        mode="max",
        metric=ACCURACY,
    )
    assert text(found) == (
        "higher than at SimCLR, which is better, at CARE (+0.200 ± 0.000); "
        "lower than at SimCLR, which is worse, at BYOL (−0.100 ± 0.000); "
        "no clear difference at MoCo"
    )


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=3, max_size=3),
        min_size=2,
        max_size=5,
    )
)
def test_a_clear_difference_is_one_whose_interval_leaves_out_0(values: list[list[float]]) -> None:
    levels = [0.1 * number for number in range(len(values))]
    made = sweep(levels, lambda level, seed: values[levels.index(level)][seed])
    sentence = answered(made).axes[0].sentences[0]
    clear = set()
    for level, each in zip(levels[1:], values[1:], strict=True):
        changes = np.subtract(each, values[0])
        half = stats.t.ppf(0.975, 2) * changes.std(ddof=1) / np.sqrt(3)
        if abs(abs(changes.mean()) - half) < 1e-9:
            return  # on the edge, rounding decides
        if abs(changes.mean()) > half:
            clear.add(level)
    assert sentence.clear == bool(clear)
    assert sentence.comparisons == len(values) - 1
    assert ("no clear difference" in sentence.text) == (len(clear) < len(values) - 1)


def test_every_comparison_is_counted() -> None:
    """Three levels and two measures, and two rivals of the best point."""
    made = sweep(LEVELS[:3], step(0.2, -0.3), more={ACCURACY: step(0.1, 0.0)})
    assert answered(made).chance.startswith("6 comparisons were made")


def test_the_points_that_are_not_clearly_worse_than_the_best_are_named() -> None:
    made = sweep(
        LEVELS, lambda level, seed: {0.0: 0.9, 0.1: 0.5}.get(level, 0.4) + level * NOISE[seed]
    )
    assert answered(made).best == (
        "Best by γ_f, sphere (smaller is better) is λ=0.2: 0.400 (± 0.005, n = 3), of 4 points "
        "with 3 common seeds. Not clearly worse: λ=0.3 (0.000 ± 0.002 behind)."
    )


def test_the_headline_has_the_sweeps_metric_first_and_then_what_changes() -> None:
    made = sweep(
        LEVELS[:2],
        step(9, 0),
        more={ACCURACY: step(0.1, 0.3), "head/hue_r2": step(9, 0)},
    )
    found = answered(made)
    first, second = found.headline.split("; class")
    assert first.startswith("γ_f, sphere: no clear difference between λ=0 and λ=0.1, 0.600 → 0.600")
    assert second.startswith(", probe, input: rises from λ=0 to λ=0.1, 0.600 → 0.900")
    assert "hue" not in found.headline
    assert found.lines[0] == found.axes[0].sentences[0].line


def test_one_seed_makes_nothing_clear() -> None:
    found = answered(sweep(LEVELS, step(0.1, -0.3), seeds=1))
    sentence = found.axes[0].sentences[0]
    assert sentence.text.startswith("one seed only, so no difference is clear; 0.500 at λ=0, 0.200")
    assert (sentence.comparisons, sentence.quality) == (0, "")
    assert found.chance == ""
    assert found.best.endswith("One seed cannot separate points.")


def test_equal_differences_at_every_setting_make_no_range() -> None:
    rows = [(x, y, seed) for x in (0.0, 0.1) for y in ("a", "b") for seed in range(2)]
    trials = pd.DataFrame(
        {
            "trial_id": [str(row) for row in rows],
            X: pd.Series([x for x, _, _ in rows], dtype=object),
            "model.encoder": [y for _, y, _ in rows],
            "seed": [seed for _, _, seed in rows],
            "state": "finished",
            METRIC: [x + (y == "b") + seed / 10 for x, y, seed in rows],
        }
    )
    found = answered(compare(trials, [X, "model.encoder"], METRIC, "min"))
    assert found.axes[0].findings[0].by_setting == "2 settings: 0.100 at each"


def test_an_axis_of_many_levels_is_described_by_its_last_one() -> None:
    found = answered(sweep([n / 100 for n in range(40)], step(0.2, -0.3)))
    assert found.axes[0].sentences[0].comparisons == 1
    assert found.axes[0].sentences[0].text.startswith("falls from λ=0 to λ=0.39, ")
