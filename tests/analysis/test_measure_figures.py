"""Figs 4, 7, 8, 10, 12, 14, 16: bars, lines and curves of measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis.statistics import estimate
from analysis.style import method_color
from tests.helpers.example_store import MadeStore

ACCURACIES = {"SimCLR": [0.80, 0.81], "CARE": [0.85, 0.86]}
METRIC = "encoder/probe_accuracy"


def heights(line: Line2D) -> NDArray[np.float64]:
    return np.asarray(line.get_ydata(), dtype=float)


@pytest.mark.parametrize(("percent", "scale"), [(False, 1), (True, 100)])
def test_bars_are_means_and_dots_seeds(store: MadeStore, percent: bool, scale: int) -> None:
    (picture,) = store.draw("losses", METRIC, percent=percent).pictures
    axes = picture.figure.axes[0]
    tops = [bar.get_height() for bar in axes.patches]  # type: ignore[attr-defined]
    assert tops == pytest.approx([scale * 0.805, scale * 0.855])
    dots, intervals = axes.lines[::2], axes.lines[1::2]
    for line, interval, values in zip(dots, intervals, ACCURACIES.values(), strict=True):
        expected = estimate(values)
        assert heights(line) == pytest.approx([scale * value for value in values])
        ends = [scale * expected.low, scale * expected.high]
        assert heights(interval) == pytest.approx(ends)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(ACCURACIES)
    title = " ".join(axes.get_title(loc="left").split())  # it may be on two lines
    assert title.endswith(", %") == percent


def test_the_readout_is_an_error_in_percent(store: MadeStore) -> None:
    (picture,) = store.draw("lambda", METRIC).pictures
    axes = picture.figure.axes[0]
    assert heights(axes.lines[-1]) == pytest.approx([19.5, 14.5])
    assert heights(axes.lines[0]) == pytest.approx([20, 19])
    assert axes.get_title(loc="left") == "error of the linear readout, %, head's input"


def test_another_measure_is_shown_as_it_is(store: MadeStore) -> None:
    (picture,) = store.draw("lambda", "head/gamma").pictures
    axes = picture.figure.axes[0]
    assert heights(axes.lines[-1]) == pytest.approx([0.5, 0.3])
    assert axes.get_title(loc="left").startswith("γ_f")


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
        for place, method in enumerate(ACCURACIES):
            color = to_hex(method_color(place))
            lines = [line for line in axes.lines if to_hex(line.get_color()) == color]
            expected = store.epochs(method, metric)
            shown = np.array([heights(line) for line in lines])
            np.testing.assert_allclose(shown, [*expected, expected.mean(axis=0)])
            assert lines[0].get_xdata(orig=False).tolist() == [1, 2, 3, 4]  # type: ignore[union-attr]
    names = [text.get_text() for text in picture.figure.legends[0].get_texts()]
    assert names == list(ACCURACIES)


@pytest.mark.parametrize("figure", ["axis", "losses", "lambda"])
def test_a_trial_next_to_collapse_is_a_hollow_dot(store: MadeStore, figure: str) -> None:
    near = {METRIC: 0.5}
    store.add("CARE", 7, measures=near, epochs={"heldout/uniformity": [0.5, 0.93]})
    (picture,) = store.draw(figure, METRIC).pictures
    shown = 50.0 if figure == "lambda" else 0.5
    dots = [line for line in picture.figure.axes[0].lines if shown in heights(line).round(6)]
    (hollow,) = (line for line in dots if line.get_markerfacecolor() == "white")
    assert heights(hollow).tolist() == pytest.approx([shown])
    assert "A hollow dot is a trial next to collapse." in picture.caption
