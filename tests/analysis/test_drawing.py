"""Figures within the page: reproducible, legible in the dark, and in words for those who listen."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.alt_texts import describe_measures
from analysis.comparison import Comparison, compare
from analysis.drawing import Drawing, draw_as_panels, draw_whole
from analysis.figures import draw_measures
from analysis.palette import DARK_PAPER, darken
from analysis.paper_plot import plot_measure
from analysis.slices import draw_slices, take_sample
from analysis.style import png
from care.config.metrics import COLLAPSE_METRIC
from tests.helpers.example_store import MadeStore

WEIGHT = "objective.equivariance.weight"
LEVELS = (0.0, 0.1, 1.0)


def comparison() -> Comparison:
    """Trials at three λ with three seeds, the last λ nearly collapsed."""
    rows = [
        {
            "trial_id": f"{index}{seed}dd0be4f",
            WEIGHT: weight,
            "seed": seed,
            "state": "finished",
            "head/gamma": 0.5 - 0.2 * index + 0.01 * seed,
            COLLAPSE_METRIC: 0.95 if weight == 1.0 else 0.2,
        }
        for index, weight in enumerate(LEVELS)
        for seed in range(3)
    ]
    return compare(pd.DataFrame(rows).astype({WEIGHT: object}), [WEIGHT], "head/gamma", "min")


@pytest.fixture
def drawing() -> Drawing:
    trials = comparison()
    return draw_as_panels(draw_measures(trials), "measures", describe_measures(trials))


def test_figures_of_two_threads_keep_their_styles(drawing: Drawing) -> None:
    """The driver draws the picture for MLflow while it draws the report."""
    trials = comparison()
    plot = png(plot_measure(trials, "head/gamma"))

    def draw(number: int) -> bool:
        if number % 2:
            return png(plot_measure(trials, "head/gamma")) == plot
        return (
            draw_as_panels(draw_measures(trials), "measures", describe_measures(trials)) == drawing
        )

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(draw, range(8)))


def test_equal_numbers_give_equal_bytes(drawing: Drawing) -> None:
    trials = comparison()
    again = draw_as_panels(draw_measures(trials), "measures", describe_measures(trials))
    assert again == drawing
    assert set(drawing.files) == {"png", "pdf", "svg"}


def test_every_dot_names_its_trial_and_value(drawing: Drawing) -> None:
    titles = re.findall(r"<title>([^<]+)</title>", "".join(drawing.panels))
    expected = [
        f"λ={weight:g}, seed {seed}: {0.5 - 0.2 * index + 0.01 * seed:.4g} · trial {index}{seed}dd0b"
        for index, weight in enumerate(LEVELS)
        for seed in range(3)
    ]
    assert Counter(titles) == Counter(expected)
    svg = ET.fromstring(drawing.files["svg"])
    assert sum(one.text in expected for one in svg.iter("{http://www.w3.org/2000/svg}title")) == 9


def test_the_panel_says_in_words_what_it_shows(drawing: Drawing) -> None:
    (panel,) = drawing.panels
    label = re.search(r'role="img" aria-label="([^"]+)"', panel)
    assert label
    for text in ("0.510 at λ=0", "0.310 at λ=0.1", "0.110 at λ=1", "Nearly collapsed: λ=1"):
        assert text in label[1]


def test_the_limits_follow_the_dots_where_an_interval_is_wide() -> None:
    """Two seeds 0.02 apart have an interval of ± 0.127 about their mean."""
    rows = [
        {
            "trial_id": f"t{weight}{seed}",
            WEIGHT: weight,
            "seed": seed,
            "state": "finished",
            "head/gamma": 0.5 + 0.02 * seed + weight / 100,
        }
        for weight in (0.0, 1.0)
        for seed in (0, 1)
    ]
    few = compare(pd.DataFrame(rows).astype({WEIGHT: object}), [WEIGHT], "head/gamma", "min")
    low, high = draw_measures(few).axes[0].get_ylim()
    assert low < 0.5
    assert high > 0.53
    assert (0.53 - 0.5) / (high - low) > 0.5


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(-4, 3), min_size=2, max_size=30, unique_by=lambda power: round(power, 3)),
    st.booleans(),
)
def test_labels_of_the_axis_are_some_and_do_not_overlap(powers: list[float], zero: bool) -> None:
    """A search suggests numbers of any distance and length."""
    levels = [0.0] * zero + [10**power for power in powers]
    rows = [
        {"trial_id": f"t{index}", WEIGHT: level, "seed": 0, "state": "finished", "head/gamma": 0.5}
        for index, level in enumerate(levels)
    ]
    trials = compare(pd.DataFrame(rows).astype({WEIGHT: object}), [WEIGHT], "head/gamma", "min")
    sample = take_sample(trials, "head/gamma", "min")
    assert_labels_are_apart(draw_measures(trials))
    if not zero:  # else the levels may be rotated names
        assert_labels_are_apart(draw_slices([sample], [(trials.axes[0],)]))


def assert_labels_are_apart(figure: Figure) -> None:
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    left, right = axes.get_xlim()
    boxes = [
        tick.label1.get_window_extent(canvas.get_renderer())
        for tick in axes.xaxis.get_major_ticks()
        if tick.label1.get_text() and left <= tick.get_loc() <= right
    ]
    assert boxes, "at least one label"
    boxes.sort(key=lambda box: box.x0)
    assert all(box.x1 < after.x0 for box, after in itertools.pairwise(boxes))


def test_every_color_is_a_variable_with_a_dark_counterpart(drawing: Drawing) -> None:
    text = "".join([*drawing.panels, *(entry.swatch for entry in drawing.legend)])
    assert not re.search(r"(?:fill|stroke):\s*#", text)
    assert set(re.findall(r"--c(\w{6})", text)) == drawing.colors


def luminance(color: str) -> float:
    """The relative luminance of WCAG 2.2, written from its definition."""
    parts = [int(color[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("color", ["222222", "0072b2", "e69f00", "440154", "3b528b", "009e73"])
def test_a_dark_color_is_legible_on_the_dark_page(color: str) -> None:
    light = luminance(darken(color)) + 0.05
    assert light / (luminance(DARK_PAPER) + 0.05) > 3.9


def test_white_is_the_page_and_a_grid_line_is_faint() -> None:
    assert darken("ffffff") == DARK_PAPER
    assert luminance(darken("e6e6e6")) < 0.1


def test_the_ids_of_a_page_are_unique_and_all_there(store: MadeStore) -> None:
    page = store.report(store.summary("wahba"))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', page)
    assert used
    assert set(used) <= set(ids)


@pytest.mark.filterwarnings("error")
def test_a_figure_in_one_piece_keeps_its_pictures(tmp_path: Path, store: MadeStore) -> None:
    figure = store.draw("flowers").pictures[0].figure
    drawing = draw_whole(figure, "flowers", 'A "grid" of <neighbors>')
    (whole,) = drawing.panels
    assert "&quot;grid&quot; of &lt;neighbors&gt;" in whole
    assert whole.count("data:image/png;base64,") >= 24
