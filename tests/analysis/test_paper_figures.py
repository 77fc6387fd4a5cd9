"""What holds for every figure of the paper: it is readable, and says what it leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.paper_figures import FIGURES
from care.trials.state import State
from sweeps.spec.paper import Figure as FigureName
from tests.helpers.example_store import MadeStore, image_details, protein_details

NEED_DETAILS = ("wahba", "circle", "trajectories", "flowers")


def metric_of(figure: str) -> str:
    return "encoder/probe_accuracy" if figure in ("axis", "losses", "lambda") else "head/gamma"


def shown_texts(figure: Figure) -> list[Text]:
    """Every text but those of ticks beyond an axis's ends, which matplotlib does not draw."""
    beyond = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
            beyond |= {tick.label1 for tick in ticks}
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    return [
        text
        for text in texts
        if text.get_text().strip()
        and text not in beyond
        and text.get_visible()
        and (text.axes is None or text.axes.get_visible())
    ]


def assert_readable(figure: Figure) -> None:
    """No text is smaller than 8 points or cut off, no line leaves its axes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    for text in shown_texts(figure):
        box = text.get_window_extent(canvas.get_renderer())  # type: ignore[no-untyped-call]
        assert float(text.get_fontsize()) >= 8, text
        assert min(box.x0, box.y0) >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    for axes in figure.axes:
        for line in axes.lines:
            if line.get_transform() == axes.transData:
                places = np.asarray(line.get_xydata(), dtype=float)
                for limits, column in zip(
                    (axes.get_xlim(), axes.get_ylim()), places.T, strict=True
                ):
                    assert min(limits) <= np.min(column)
                    assert np.max(column) <= max(limits)


def test_each_name_that_a_sweep_may_give_is_drawn() -> None:
    assert {*FIGURES, "table"} == set(get_args(FigureName))


@pytest.mark.parametrize("figure", sorted(FIGURES))
def test_readable(store: MadeStore, figure: str) -> None:
    drawn = store.draw(figure, metric_of(figure))
    assert drawn.pictures
    assert not drawn.left_out
    for picture in drawn.pictures:
        assert_readable(picture.figure)


@pytest.mark.parametrize("figure", sorted(FIGURES))
def test_one_trial_is_enough(tmp_path: Path, rng: np.random.Generator, figure: str) -> None:
    store = MadeStore(tmp_path)
    measures = {"head/gamma": 0.1, "encoder/probe_accuracy": 0.5}
    epochs = {f"heldout/{name}": [0.5] for name in ("gamma", "alignment", "positive_cosine")}
    details = image_details(rng) | protein_details(rng)
    store.add("CARE", 3, measures=measures, epochs=epochs, details=details)
    drawn = store.draw(figure, metric_of(figure))
    assert drawn.pictures
    assert not drawn.left_out
    for picture in drawn.pictures:
        assert_readable(picture.figure)


@pytest.mark.parametrize("figure", NEED_DETAILS)
def test_without_details_there_is_a_sentence(tmp_path: Path, figure: str) -> None:
    store = MadeStore(tmp_path)
    store.add("CARE", 0)
    store.add("SimCLR", 0, details={"notes": np.array([], dtype="U1")})
    drawn = store.draw(figure)
    assert not drawn.pictures
    (sentence,) = drawn.left_out
    assert "is not drawn: no finished trial has what it needs" in sentence
    page = store.report(store.summary(figure))
    assert f'<p class="left-out">{sentence}</p>' in page
    assert not list((tmp_path / "report" / "figures").glob("paper-*"))


@pytest.mark.parametrize("figure", NEED_DETAILS)
def test_what_is_not_finished_is_left_out_by_name(
    store: MadeStore, rng: np.random.Generator, figure: str
) -> None:
    """A stale trial has details, a finished one has none, and a point has no trial yet."""
    store.add("L_inv", 0, details=image_details(rng) | protein_details(rng), state=State.STALE)
    store.add("L_unif", 0)
    drawn = store.draw(figure)
    assert drawn.pictures
    (sentence,) = drawn.left_out
    assert "lacks L_inv; L_unif: no finished trial there has what it needs" in sentence


def test_curves_are_drawn_without_the_histograms(store: MadeStore) -> None:
    for member in store.members:
        (store.root / "trials" / member.trial_id / "details.npz").unlink()
    drawn = store.draw("positives")
    assert [picture.name for picture in drawn.pictures] == ["positives-curves"]
    assert drawn.left_out[0].startswith("The histogram of positive pairs' cosines is not drawn")


@pytest.mark.parametrize(
    ("figure", "metric", "named"),
    [
        ("axis", "head/axis_error", "principal axis, error in degrees"),
        ("lambda", "encoder/paper_probe_accuracy", "class, the paper's probe"),
        ("training", "heldout/gamma", "alignment L_inv, held out"),
        ("positives", "heldout/gamma", "cosine of positive pairs, held out"),
    ],
)
def test_a_measure_that_no_trial_has_is_named(
    tmp_path: Path, figure: str, metric: str, named: str
) -> None:
    store = MadeStore(tmp_path)
    store.add("CARE", 0, epochs={"train/loss": [1.0]})
    drawn = store.draw(figure, metric)
    assert not drawn.pictures
    assert f"no finished trial has measured {named}" in drawn.left_out[-1]
