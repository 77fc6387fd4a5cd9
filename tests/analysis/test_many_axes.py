"""Sweeps of two axes, of three, and of more points than lines can show."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from analysis.comparison import Comparison, compare
from analysis.crowd import draw_crowd, is_crowded
from analysis.drawing import draw_as_panels, draw_whole
from analysis.heatmap import Grid, describe_heatmap, draw_heatmap, find_grid
from analysis.parallel import describe_parallel, draw_parallel, rank_axes
from care.config.metrics import COLLAPSE_METRIC

WEIGHT, TAU = "objective.equivariance.weight", "objective.temperature"
RATE, ENCODER = "optimizer.learning_rate", "model.encoder"
METRIC = "head/gamma"


def trials(points: list[dict[str, Any]], seeds: int = 2) -> Comparison:
    """Trials at points; a point may have a ``value``, ``collapsed`` and a number of ``failed``."""
    rows = []
    for number, point in enumerate(points):
        levels = {name: level for name, level in point.items() if "." in name}
        for seed in range(seeds):
            failed = seed < point.get("failed", 0)
            rows.append(
                {
                    "trial_id": f"{number:04x}{seed}000",
                    **levels,
                    "seed": seed,
                    "state": "failed" if failed else "finished",
                    METRIC: None if failed else point.get("value", 0.5) + seed / 100,
                    COLLAPSE_METRIC: 0.95 if point.get("collapsed") else 0.2,
                }
            )
    axes = [name for name in points[0] if "." in name]
    table = pd.DataFrame(rows).astype(dict.fromkeys(axes, object))
    return compare(table, axes, METRIC, "min")


def grid_points() -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = [
        {WEIGHT: weight, TAU: tau, "value": weight + tau}
        for weight, tau in itertools.product((0.0, 0.1, 1.0), (0.2, 0.5))
    ]
    points[1]["failed"] = 1
    points[2]["failed"] = 2
    points[5]["collapsed"] = True
    return points


def grid_of(comparison: Comparison) -> Grid:
    grid = find_grid(comparison)
    assert grid
    return grid


def test_every_cell_of_a_grid_has_its_mean_or_says_why_not() -> None:
    comparison = trials(grid_points())
    grid = grid_of(comparison)
    axes = draw_heatmap(comparison, grid, [METRIC]).axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {
        (0, 0): "0.205\nn = 2",
        (0, 1): "0.510\nn = 1 of 2",
        (1, 0): "2 failed",
        (1, 1): "0.605\nn = 2",
        (2, 0): "1.205\nn = 2",
        (2, 1): "⚠ 1.505\nn = 2",
    }


def test_the_page_shows_a_cells_own_colors_and_its_interval_under_the_pointer() -> None:
    comparison = trials(grid_points())
    grid = grid_of(comparison)
    figure = draw_heatmap(comparison, grid, [METRIC])
    drawing = draw_as_panels(figure, "heatmap", describe_heatmap(comparison, grid, [METRIC]))
    (panel,) = drawing.panels
    assert "from 0.205 at λ=0 τ=0.2 to 1.505 at λ=1 τ=0.5" in panel
    titles = set(re.findall(r"<title>([^<]+)</title>", panel))
    assert "λ=0 τ=0.2: 0.205 (± 0.064, n = 2)" in titles
    assert any("failed: 2" in title for title in titles)
    assert any("nearly collapsed: 2" in title for title in titles)
    cells = re.findall(r'<g class="kept">.*?</g>', panel)
    assert len(cells) >= 6
    hatches = re.findall(r"<pattern.*?</pattern>", panel)
    assert hatches
    assert not any("var(--c" in part for part in [*cells, *hatches])


@pytest.mark.parametrize(
    "points",
    [
        [{WEIGHT: weight, TAU: 0.2} for weight in (0.0, 0.1, 1.0)],
        [{WEIGHT: w, TAU: t, RATE: r} for w in (0.0, 1.0) for t in (0.2, 0.5) for r in (0.1, 1.0)],
        [{WEIGHT: n / 10, TAU: n / 20} for n in range(1, 9)],
    ],
    ids=["one-axis", "three-axes", "a-diagonal"],
)
def test_only_a_grid_of_two_axes_has_a_heat_map(points: list[dict[str, Any]]) -> None:
    assert find_grid(trials(points)) is None


def search_points(count: int) -> list[dict[str, Any]]:
    return [
        {
            WEIGHT: 10 ** (-3 + 3 * (number * 7 % count) / count),
            TAU: 0.1 + 0.8 * (number * 3 % count) / count,
            ENCODER: ("small", "resnet18")[number % 2],
            "value": 0.9 - 0.5 * (number * 7 % count) / count + 0.1 * (number * 3 % count) / count,
            "collapsed": number == 4,
        }
        for number in range(count)
    ]


def test_axes_are_ranked_by_spearmans_rho_over_points() -> None:
    points = search_points(20)
    ranks = rank_axes(trials(points))
    kept = [point for point in points if not point["collapsed"]]
    values = [point["value"] for point in kept]
    expected = {
        name: stats.spearmanr([point[axis] for point in kept], values).statistic
        for name, axis in (("λ", WEIGHT), ("τ", TAU))
    }
    assert [one.axis for one in ranks] == ["λ", "τ", "encoder"]
    for one in ranks[:2]:
        assert one.trend.rho == pytest.approx(expected[one.axis])
        assert one.trend.n == 19
    assert "no order" in ranks[2].text


def test_points_over_all_axes_name_themselves_and_the_collapsed_are_gray() -> None:
    comparison = trials(search_points(20))
    figure = draw_parallel(comparison)
    assert figure
    drawing = draw_whole(figure, "parallel", describe_parallel(comparison))
    titles = re.findall(r"<title>([^<]+)</title>", drawing.panels[0])
    assert len(titles) == 20
    assert sum(title.endswith("nearly collapsed") for title in titles) == 1
    assert "19 points over 3 axes" in drawing.panels[0]


def test_a_sweep_without_a_usable_point_has_no_lines() -> None:
    points = [{**point, "collapsed": True} for point in search_points(6)]
    assert draw_parallel(trials(points)) is None


def test_many_points_are_dots_of_trials() -> None:
    comparison = trials(search_points(40))
    assert is_crowded(comparison)
    assert not is_crowded(trials(grid_points()))
    axes = draw_crowd(comparison).axes[0]
    full, hollow = (len(line.get_xdata()) for line in axes.lines[:2])  # type: ignore[arg-type]
    assert (full, hollow) == (78, 2)
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert [label for label in labels if label] == ["0.001", "0.01", "0.1", "1"]
