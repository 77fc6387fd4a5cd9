"""Figs 4, 10: bars of a measure."""

from __future__ import annotations

import pytest

from analysis.statistics import estimate
from tests.helpers.drawn import heights
from tests.helpers.example_store import MadeStore

ACCURACIES = {"SimCLR": [0.80, 0.81], "CARE": [0.85, 0.86]}
METRIC = "encoder/probe_accuracy"


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


@pytest.mark.parametrize("figure", ["axis", "losses"])
def test_a_nearly_collapsed_trial_is_a_hollow_dot(store: MadeStore, figure: str) -> None:
    near = {METRIC: 0.5}
    store.add("CARE", 7, measures=near, epochs={"heldout/uniformity": [0.5, 0.93]})
    (picture,) = store.draw(figure, METRIC).pictures
    dots = [line for line in picture.figure.axes[0].lines if 0.5 in heights(line).round(6)]
    (hollow,) = (line for line in dots if line.get_markerfacecolor() == "white")
    assert heights(hollow).tolist() == pytest.approx([0.5])
    assert "A hollow dot is a nearly collapsed trial." in picture.caption
