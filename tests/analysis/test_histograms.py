"""Figs 6, 11, 13, 15: histograms of cosines as densities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch
from numpy.typing import NDArray

from tests.helpers.example_store import EDGES, SPACES, MadeStore, image_details


def steps(axes: Axes) -> NDArray[np.float64]:
    """The heights that a panel shows, which its filling and its outline agree on."""
    drawn = [patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch)]
    for values, edges, _ in drawn:
        np.testing.assert_array_equal(values, drawn[0][0])
        np.testing.assert_array_equal(edges, EDGES)
    return np.asarray(drawn[0][0])


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("figure", "pairs"), [("circle", "shared"), ("positives", "positive")])
def test_the_density_of_all_seeds(store: MadeStore, space: str, figure: str, pairs: str) -> None:
    picture = store.draw(figure, f"{space}/gamma").pictures[0]
    middles = (EDGES[1:] + EDGES[:-1]) / 2
    stored = store.arrays(f"{space}/cosine_{pairs}")
    for axes, (method, counts) in zip(picture.figure.axes, stored.items(), strict=True):
        cosines = np.concatenate([np.repeat(middles, one) for one in counts])
        expected, _ = np.histogram(cosines, EDGES, density=True)
        np.testing.assert_allclose(steps(axes), expected)
        assert axes.get_title(loc="left") == method
        assert axes.get_xlim() == (-1, 1)
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylim()[1] > expected.max()
        assert axes.texts[0].get_text() == "n = 2 seeds\n1,000 cosines"


def test_like_heights_share_a_scale(store: MadeStore) -> None:
    picture = store.draw("circle").pictures[0]
    left, right = picture.figure.axes
    assert left.get_ylim() == right.get_ylim()
    assert "on one vertical scale" in picture.caption


def test_a_flat_one_keeps_a_scale_of_its_own(tmp_path: Path, rng: np.random.Generator) -> None:
    store = MadeStore(tmp_path)
    store.add("L_inv", 0, details=image_details(rng, width=0.01))
    store.add("L_unif", 0, details=image_details(rng, width=2.0))
    picture = store.draw("circle").pictures[0]
    steep, flat = picture.figure.axes
    assert steep.get_ylim()[1] > 4 * flat.get_ylim()[1]
    assert "on a vertical scale for each panel" in picture.caption


def test_four_methods_take_two_rows(tmp_path: Path, rng: np.random.Generator) -> None:
    store = MadeStore(tmp_path)
    methods = ["L_inv", "L_unif", "SimCLR", "CARE"]
    for method in methods:
        store.add(method, 0, details=image_details(rng))
    panels = store.draw("circle").pictures[0].figure.axes
    assert [axes.get_title(loc="left") for axes in panels if axes.get_visible()] == methods


def test_nothing_counted_is_flat(tmp_path: Path) -> None:
    store = MadeStore(tmp_path)
    empty = {"cosine/edges": EDGES, "head/cosine_shared": np.zeros(40, dtype=np.int64)}
    store.add("CARE", 0, details=empty)
    assert steps(store.draw("circle").pictures[0].figure.axes[0]).tolist() == [0.0] * 40
