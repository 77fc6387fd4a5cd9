"""Slices and contours: what is drawn, and where nothing is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import Comparison, compare
from analysis.slices import (
    describe_contours,
    describe_slices,
    draw_contours,
    draw_slices,
    find_contour,
    take_sample,
)
from care.config.metrics import COLLAPSE_METRIC
from care.system.rng import generator

WEIGHT, TAU, METHOD = "objective.equivariance.weight", "objective.temperature", "model.encoder"
METRIC = "head/gamma"
BOTH = [(WEIGHT,), (TAU,)]


def trials(points: list[dict[str, Any]], seeds: int = 2) -> Comparison:
    rows = [
        {
            "trial_id": f"{number}-{seed}",
            **{name: value for name, value in point.items() if "." in name},
            "seed": seed,
            "state": "finished",
            METRIC: point["value"] + seed / 100,
            COLLAPSE_METRIC: 0.95 if point.get("collapsed") else 0.2,
        }
        for number, point in enumerate(points)
        for seed in range(seeds)
    ]
    axes = [name for name in points[0] if "." in name]
    table = pd.DataFrame(rows).astype(dict.fromkeys(axes, object))
    return compare(table, axes, METRIC, "min")


def scattered(number: int = 30) -> list[dict[str, Any]]:
    units = generator(0, "slices").random((number, 2)).tolist()
    return [{WEIGHT: 10 ** (3 * u - 3), TAU: 0.1 + 0.4 * v, "value": u + v} for u, v in units]


def dots(axes: Any, size: float) -> list[tuple[float, float]]:
    (line,) = (
        one for one in axes.lines if one.get_marker() == "o" and one.get_markersize() == size
    )
    return [tuple(row) for row in line.get_xydata().tolist()]


def test_a_panel_has_every_seed_and_mean_but_no_collapsed_point() -> None:
    points = scattered()
    points[3]["collapsed"] = True
    sample = take_sample(trials(points), METRIC, "min")
    weight, tau = (axes for axes in draw_slices([sample], BOTH).axes if axes.get_visible())
    kept = [point for number, point in enumerate(points) if number != 3]
    expected = sorted((point[WEIGHT], point["value"] + 0.005) for point in kept)
    assert np.allclose(sorted(dots(weight, 4.6)), expected)
    assert len(dots(weight, 2.4)) == 2 * len(kept)
    assert (weight.get_xscale(), tau.get_xscale()) == ("log", "linear")
    assert not any(line.get_linestyle() == "-" for line in [*weight.lines, *tau.lines])
    best = min(kept, key=lambda point: point["value"])
    alt, _ = describe_slices([sample], BOTH)
    assert f"the best point has {best['value'] + 0.005:.3g} at {best[WEIGHT]:.4g}, the worst" in alt


def test_levels_that_points_share_have_their_mean() -> None:
    points = [
        {TAU: tau, METHOD: name, "value": tau + place}
        for tau in (0.1, 0.2, 0.3)
        for place, name in enumerate(("small", "resnet18"))
    ]
    sample = take_sample(trials(points), METRIC, "min")
    tau, method = draw_slices([sample], [(TAU,), (METHOD,)]).axes
    (line,) = (one for one in tau.lines if one.get_linestyle() == "-")
    assert np.allclose(line.get_xydata(), [(0.1, 0.605), (0.2, 0.705), (0.3, 0.805)])
    (marks,) = (one for one in method.lines if one.get_marker() == "_")
    assert marks.get_linestyle() == "None"
    assert np.allclose(marks.get_xydata(), [(0, 0.205), (1, 1.205)])
    assert [text.get_text() for text in method.get_xticklabels()] == ["small", "resnet18"]


def test_a_contour_shows_the_points_that_it_rests_on() -> None:
    points = scattered()
    sample = take_sample(trials(points), METRIC, "min")
    contour = find_contour(sample, BOTH)
    assert contour
    assert len(contour.spots) == len(points)
    figure = draw_contours([(sample, contour)])
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_xscale(), axes.get_yscale()) == ("λ", "log", "linear")
    _, shown = axes.collections
    places = sorted(tuple(row) for row in np.asarray(shown.get_offsets()).tolist())
    assert np.allclose(places, sorted((point[WEIGHT], point[TAU]) for point in points))
    best = min(points, key=lambda point: point["value"])
    text = describe_contours([(sample, contour)])
    assert (
        f"from 30 points; the best, {best['value'] + 0.005:.3g}, is at {best[WEIGHT]:.3g}" in text
    )


def test_no_contour_without_dense_points() -> None:
    few = take_sample(trials(scattered(8)), METRIC, "min")
    assert find_contour(few, BOTH) is None
    line = [{WEIGHT: 10 ** (-n / 10), TAU: 0.1 + n / 100, "value": float(n)} for n in range(20)]
    assert find_contour(take_sample(trials(line), METRIC, "min"), BOTH) is None
    levels = [{**point, TAU: [0.1, 0.2, 0.3][place % 3]} for place, point in enumerate(scattered())]
    assert find_contour(take_sample(trials(levels), METRIC, "min"), BOTH) is None


def test_points_at_one_place_are_averaged() -> None:
    points = [{**point, METHOD: name} for point in scattered(15) for name in ("small", "resnet18")]
    for point in points:
        point["value"] = 1.0 if point[METHOD] == "small" else 3.0
    contour = find_contour(take_sample(trials(points), METRIC, "min"), [*BOTH, (METHOD,)])
    assert contour
    assert len(contour.spots) == 15
    assert all(math.isclose(value, 2.005) for value in contour.spots.values())


def test_a_wide_axis_with_zero_has_its_levels_side_by_side() -> None:
    points = [
        {WEIGHT: weight, TAU: tau, "value": weight + tau}
        for weight in (0.0, 0.01, 0.1, 1.0)
        for tau in (0.1, 0.2)
    ]
    weight, _ = draw_slices([take_sample(trials(points), METRIC, "min")], BOTH).axes
    assert [text.get_text() for text in weight.get_xticklabels()] == ["0", "0.01", "0.1", "1"]
    assert sorted({x for x, _ in dots(weight, 4.6)}) == [0, 1, 2, 3]
