"""Figs 8, 12, 14, 16: a metric over the epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from analysis.collect import tabulate
from analysis.comparison import compare
from analysis.contents import MOST_CURVES
from analysis.learning_curves import draw_over_epochs, measured_curves
from analysis.style import method_color
from analysis.tables import select_best
from tests.helpers.drawn import heights
from tests.helpers.example_store import MadeStore

METHODS = ("SimCLR", "CARE")


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_curve_of_one_epoch_is_seen(tmp_path: Path, epochs: int) -> None:
    store = MadeStore(tmp_path)
    store.add("CARE", 0, epochs={"heldout/positive_cosine": [0.5] * epochs})
    axes = store.draw("positives").pictures[-1].figure.axes[0]
    assert all((line.get_marker() == "o") == (epochs == 1) for line in axes.lines)
    assert len(axes.lines) == 2


@pytest.mark.parametrize(
    ("figure", "metrics"),
    [
        ("positives", ["heldout/positive_cosine"]),
        ("training", ["heldout/alignment", "heldout/gamma"]),
    ],
)
def test_curves_are_the_seeds_and_their_mean(
    store: MadeStore, figure: str, metrics: list[str]
) -> None:
    picture = store.draw(figure).pictures[-1]
    for axes, metric in zip(picture.figure.axes, metrics, strict=True):
        for place, method in enumerate(METHODS):
            color = to_hex(method_color(place))
            lines = [line for line in axes.lines if to_hex(line.get_color()) == color]
            expected = store.epochs(method, metric)
            shown = np.array([heights(line) for line in lines])
            np.testing.assert_allclose(shown, [*expected, expected.mean(axis=0)])
            assert lines[0].get_xdata(orig=False).tolist() == [1, 2, 3, 4]  # type: ignore[union-attr]
    names = [text.get_text() for text in picture.figure.legends[0].get_texts()]
    assert names == list(METHODS)


def test_a_metric_of_every_second_epoch_and_the_last_is_one_line() -> None:
    metric, measured = "heldout/knn_accuracy", {2: 0.3, 4: 0.5, 5: 0.6}
    trials = [
        {"trial_id": f"{method}-{seed}", "variant": method, "seed": seed, "state": "finished"}
        for method in METHODS
        for seed in (0, 1)
    ]
    epochs = [
        {**trial, "epoch": epoch} | ({metric: measured[epoch]} if epoch in measured else {})
        for trial in trials
        for epoch in range(1, 6)
    ]
    comparison = compare(tabulate(trials, ["variant"]), ["variant"])
    curves = tabulate(epochs, ["variant"])
    assert measured_curves(curves) == [metric]
    (axes,) = draw_over_epochs(comparison, curves, [metric]).axes
    assert axes.get_title("left") == "class, kNN accuracy, held out (↑)"
    assert len(axes.lines) == 2 * 3, "two seeds and their mean, of two methods"
    for line in axes.lines:
        assert np.asarray(line.get_xdata(orig=False)).tolist() == list(measured)
        np.testing.assert_allclose(heights(line), list(measured.values()))


def test_before_any_of_many_points_is_finished_the_first_are_drawn() -> None:
    trials = [
        {"trial_id": f"t{index:02d}", "variant": f"m{index:02d}", "seed": 0, "state": "running"}
        for index in range(MOST_CURVES + 1)
    ]
    epochs = [{**trial, "epoch": 1, "train/loss": 1.0} for trial in trials]
    comparison = compare(tabulate(trials, ["variant"]), ["variant"])
    points = select_best(comparison, MOST_CURVES)
    assert points == comparison.points()[:MOST_CURVES]
    figure = draw_over_epochs(comparison, tabulate(epochs, ["variant"]), ["train/loss"], points)
    assert len(figure.legends[0].get_texts()) == MOST_CURVES
