"""Fig 7: the error of the readout against an axis."""

from __future__ import annotations

import pytest

from tests.helpers.drawn import heights
from tests.helpers.example_store import MadeStore

METRIC = "encoder/probe_accuracy"


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


def test_a_nearly_collapsed_trial_is_a_hollow_dot(store: MadeStore) -> None:
    near = {METRIC: 0.5}
    store.add("CARE", 7, measures=near, epochs={"heldout/uniformity": [0.5, 0.93]})
    (picture,) = store.draw("lambda", METRIC).pictures
    dots = [line for line in picture.figure.axes[0].lines if 50.0 in heights(line).round(6)]
    (hollow,) = (line for line in dots if line.get_markerfacecolor() == "white")
    assert heights(hollow).tolist() == pytest.approx([50.0])
    assert "A hollow dot is a nearly collapsed trial." in picture.caption
