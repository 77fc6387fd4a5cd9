"""The effect of an axis with the others held, against closed forms and scipy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.comparison import Comparison, compare
from analysis.effects import Axis
from analysis.findings import answer

X, Y, METRIC = "objective.equivariance.weight", "model.encoder", "head/gamma"
Row = tuple[Any, Any, int, float]


def comparison(rows: list[Row], **more: list[Any]) -> Comparison:
    """Finished trials of two axes; ``more`` are further columns, or change one."""
    columns: dict[str, list[Any]] = {
        "trial_id": [f"{x}-{y}-{seed}" for x, y, seed, _ in rows],
        X: [row[0] for row in rows],
        Y: [row[1] for row in rows],
        "seed": [row[2] for row in rows],
        METRIC: [row[3] for row in rows],
        "state": ["finished"] * len(rows),
    }
    trials = pd.DataFrame({**columns, **more})
    for axis in (X, Y):
        trials[axis] = pd.Series(columns[axis], dtype=object)
    return compare(trials, [X, Y], METRIC, "min")


def whole(rng: np.random.Generator) -> list[Row]:
    return [
        (x, y, seed, float(rng.normal()))
        for x, y, seed in itertools.product((0.0, 0.1, 1.0), ("small", "large"), range(4))
    ]


def value(rows: list[Row], x: Any, y: Any, seed: int) -> float:
    return next(row[3] for row in rows if row[:3] == (x, y, seed))


def test_an_effect_is_paired_at_equal_settings_and_its_interval_is_over_seeds(
    rng: np.random.Generator,
) -> None:
    rows = whole(rng)
    found = Axis(comparison(rows), X).effect(0.0, 1.0, METRIC)
    by_seed = [
        np.mean([value(rows, 1.0, y, seed) - value(rows, 0.0, y, seed) for y in ("small", "large")])
        for seed in range(4)
    ]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(by_seed), scale=stats.sem(by_seed))
    assert (found.change.n, found.pairs) == (4, 8)
    assert found.change.mean == pytest.approx(np.mean(by_seed))
    assert (found.change.low, found.change.high) == pytest.approx((low, high))
    assert found.at_level.mean - found.at_baseline.mean == pytest.approx(found.change.mean)
    for y in ("small", "large"):
        expected = np.mean([value(rows, 1.0, y, s) - value(rows, 0.0, y, s) for s in range(4)])
        assert found.by_setting[(y,)] == pytest.approx(expected)


def test_a_seed_that_is_missing_at_one_point_makes_no_pair_there(rng: np.random.Generator) -> None:
    rows = [row for row in whole(rng) if row[:3] != (1.0, "small", 2)]
    found = Axis(comparison(rows), X).effect(0.0, 1.0, METRIC)
    assert (found.change.n, found.pairs) == (4, 7)
    alone = [row for row in rows if row[1] == "small"]
    found = Axis(comparison(alone), X).effect(0.0, 1.0, METRIC)
    assert (found.at_baseline.n, found.at_level.n, found.change.n) == (3, 3, 3)


def test_every_axis_has_its_own_answer_and_the_metric_comes_first(rng: np.random.Generator) -> None:
    found = answer(comparison(whole(rng)))
    assert found
    assert [axis.axis for axis in found.axes] == ["λ", "encoder"]
    assert [axis.baseline for axis in found.axes] == ["λ=0", "encoder=small"]
    assert [axis.findings[0].title for axis in found.axes] == [
        "γ_f, relative rotational equivariance (↓), head's output, on the sphere"
    ] * 2
    assert found.axes[0].findings[0].by_setting.startswith("2 settings: from ")
    assert found.axes[1].findings[0].by_setting.startswith("3 settings: from ")


def test_the_rank_correlation_is_scipys_over_means_of_settings(rng: np.random.Generator) -> None:
    rows = whole(rng)
    pairs = [
        (x, np.mean([value(rows, x, y, seed) for y in ("small", "large")]))
        for x in (0.0, 0.1, 1.0)
        for seed in range(4)
    ]
    xs, ys = zip(*pairs, strict=True)
    found = Axis(comparison(rows), X).trend(METRIC)
    assert found.n == 12
    assert found.rho == pytest.approx(float(stats.spearmanr(xs, ys).statistic))


def test_nearly_collapsed_points_are_left_out_and_named(rng: np.random.Generator) -> None:
    rows = whole(rng)
    uniformity = [0.95 if row[0] == 1.0 and row[2] < 3 else 0.5 for row in rows]
    made = comparison(rows, **{"heldout/uniformity": uniformity})
    assert made.collapsed_points == [(1.0, "small"), (1.0, "large")]
    assert Axis(made, X).levels == [0.0, 0.1]
    found = answer(made)
    assert found
    assert "λ=1 encoder=small (3 of 4 seeds)" in found.collapsed
    assert found.axes[0].findings[0].level == "λ=0.1"
    assert set(made.best_point().collapsed) == {(1.0, "small"), (1.0, "large")}
    rest = [row for row in rows if row[0] < 1]
    means = {
        (x, y): np.mean([value(rest, x, y, seed) for seed in range(4)])
        for x in (0.0, 0.1)
        for y in ("small", "large")
    }
    assert made.best_point().point == min(means, key=lambda point: means[point])


def test_where_all_points_nearly_collapsed_there_is_no_best_point(rng: np.random.Generator) -> None:
    rows = whole(rng)
    found = answer(comparison(rows, **{"heldout/uniformity": [0.9] * len(rows)}))
    assert found
    assert found.best == "There is no best point: all are nearly collapsed."
    assert not found.axes
    assert len(found.not_compared) == 2


def test_a_trial_that_stands_for_two_points_is_not_compared_with_itself() -> None:
    """At λ = 0 the encoder's name stands here for an axis that does nothing there."""
    rows: list[Row] = [(0.0, y, seed, 0.5) for y in ("small", "large") for seed in range(2)]
    made = comparison(rows, trial_id=["a", "b", "a", "b"])
    assert Axis(made, Y).effect("small", "large", METRIC).change.n == 0
    assert made.axes == [Y, X]
    assert made.best_point().compared == (("small", 0.0),)
    found = answer(made)
    assert found
    assert found.not_compared[0].startswith("encoder is not compared: ")


def test_null_is_a_level_in_declared_order_and_may_be_the_baseline() -> None:
    rows: list[Row] = [
        (x, "small", seed, 0.1 * place + seed)
        for place, x in enumerate((512, None, 100))
        for seed in range(2)
    ]
    made = comparison(rows)
    assert [point[0] for point in made.points()] == [512, None, 100]
    assert made.mean((None, "small"), METRIC).n == 2
    first = comparison([row for row in rows if row[0] != 512])
    assert first.baseline((100, "small")) == (None, "small")
    assert first.difference((100, "small"), METRIC).mean == pytest.approx(0.1)
