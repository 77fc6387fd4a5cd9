"""The Pareto front: which points are on it, and what a reader sees of it."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from analysis.comparison import Comparison, compare
from analysis.front import FrontRow, compare_objectives, describe_front, list_front, tabulate_front
from analysis.front_figure import describe_front_figure, draw_front
from analysis.pareto import Objective, find_front
from analysis.statistics import estimate

PROBE, GAMMA = "encoder/probe_accuracy", "head/gamma"
TWO = (Objective(PROBE, "max"), Objective(GAMMA, "min"))


def one_seed(**points: tuple[float, ...]) -> dict[str, dict[int, tuple[float, ...]]]:
    return {name: {0: values} for name, values in points.items()}


def test_dominated_points_are_not_on_it() -> None:
    values = one_seed(a=(0.9, 0.5), b=(0.8, 0.2), c=(0.8, 0.3), d=(0.7, 0.2), e=(0.1, 0.1))
    front = find_front(values, TWO)
    assert front.points == ("a", "b", "e")
    assert set(front.means) == set(values)
    upwards = (Objective(PROBE, "max"), Objective(GAMMA, "max"))
    assert find_front(values, upwards).points == ("a",)


def test_equal_points_are_both_on_it() -> None:
    assert set(find_front(one_seed(a=(1.0, 1.0), b=(1.0, 1.0)), TWO).points) == {"a", "b"}


def test_three_objectives() -> None:
    three = (*TWO, Objective("train/loss", "min"))
    values = one_seed(a=(0.9, 0.5, 1.0), b=(0.8, 0.6, 0.9), c=(0.8, 0.6, 1.1))
    assert find_front(values, three).points == ("a", "b")


def test_means_are_over_common_seeds() -> None:
    """Point a would win by its third seed, which b does not have."""
    values = {
        "a": {0: (0.5, 1.0), 1: (0.5, 1.0), 2: (3.0, 0.0)},
        "b": {0: (0.6, 0.9), 1: (0.6, 0.9)},
        "c": {2: (9.0, 0.0)},
    }
    front = find_front(values, TWO)
    assert front.seeds == (0, 1)
    assert front.points == ("b",)
    assert front.other_seeds == ("c",)


def test_collapsed_and_missing_points() -> None:
    front = find_front(one_seed(a=(0.9, 0.0), b=(0.5, 0.5)) | {"none": {}}, TWO, ["a"])
    assert (front.points, front.collapsed) == (("b",), ("a",))
    assert find_front({}, TWO).points == ()


@pytest.fixture
def comparison() -> Comparison:
    rows = []
    for place in range(6):
        for seed in range(3):
            trial = {
                "trial_id": f"{place}{seed}",
                "λ": place / 10,
                "seed": seed,
                "state": "finished",
            }
            trial |= {PROBE: 0.9 - place / 10 + seed / 100, GAMMA: abs(place - 4) / 10 + seed / 50}
            rows.append(trial)
    return compare(pd.DataFrame(rows), ["λ"], PROBE, "max")


def test_intervals_are_over_the_seeds(comparison: Comparison) -> None:
    front = compare_objectives(comparison, TWO)
    rows = list_front(comparison, TWO, front)
    assert [row.point[0] for row in rows if row.first] == [0, 0.1, 0.2, 0.3, 0.4]
    assert [row.point[0] for row in rows if not row.first] == [0.5]
    assert rows[0].cells[0] == estimate([0.9, 0.91, 0.92])
    table = tabulate_front(comparison, TWO, rows)
    assert table["front"].tolist() == [True] * 5 + [False]
    assert table["n"].tolist() == [3] * 6
    assert math.isclose(table[f"{GAMMA} low"][0], rows[0].cells[1].low)


def test_the_sentence_and_the_figure(comparison: Comparison) -> None:
    front = compare_objectives(comparison, TWO)
    rows = list_front(comparison, TWO, front)
    text = describe_front(TWO, front, rows)
    assert text.startswith("Pareto front by ")
    assert "(larger is better) and " in text
    assert "5 of 6 points: λ=0 (0.910 ± 0.025, n = 3, 0.420 ± 0.050, n = 3); " in text
    (panel,) = (axes for axes in draw_front(TWO, rows).axes if axes.get_visible())
    assert panel.get_xlabel().endswith("↑")
    assert panel.get_ylabel().endswith("↓")
    dots = [line for line in panel.lines if line.get_marker() == "o"]
    assert len(dots) == 6
    (alt,) = describe_front_figure(TWO, rows)
    assert "of 6 points. Pareto front: λ=0: 0.910, 0.420; " in alt


def test_the_limits_follow_the_points_where_intervals_are_wide() -> None:
    """Two seeds 0.1 apart have an interval of ± 0.64 about their mean."""
    rows = [
        FrontRow((x,), f"λ={x}", (estimate([x, x + 0.1]), estimate([y, y + 0.1])), first=True)
        for x, y in ((0.5, 0.2), (0.6, 0.4))
    ]
    panel = draw_front(TWO, rows).axes[0]
    (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
    assert left < 0.55 < 0.65 < right
    assert low < 0.25 < 0.45 < high
    assert (0.65 - 0.55) / (right - left) > 0.5
    assert (0.45 - 0.25) / (high - low) > 0.5
