"""Fig 5: the residual of each augmentation, and of single operations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from analysis.style import method_color
from tests.helpers.example_store import AUGMENTATIONS, OPERATIONS, SPACES, MadeStore, image_details


def marks(axes: Axes) -> list[NDArray[np.float64]]:
    """The marks of each method, [augmentations,2]."""
    return [np.asarray(line.get_xydata(), dtype=float) for line in axes.lines]


def ranges(axes: Axes) -> list[NDArray[np.float64]]:
    """The lines over each method's seeds, [augmentations,2 ends,2]."""
    lines = [drawn for drawn in axes.collections if isinstance(drawn, LineCollection)]
    return [np.array(drawn.get_segments()) for drawn in lines]


@pytest.mark.parametrize("space", SPACES)
def test_random_augmentations(store: MadeStore, space: str) -> None:
    """The space is the metric's; means and ranges are numpy's over the files."""
    picture = store.draw("wahba", f"{space}/wahba_per_sqrt_n").pictures[0]
    axes = picture.figure.axes[0]
    stored = store.arrays(f"{space}/wahba")
    assert len(axes.lines) == len(stored) == 2
    for points, lines, values in zip(marks(axes), ranges(axes), stored.values(), strict=True):
        assert np.round(points[:, 0]).tolist() == list(range(20))
        np.testing.assert_allclose(points[:, 1], np.mean(values, axis=0))
        np.testing.assert_allclose(lines[:, 0, 1], np.min(values, axis=0))
        np.testing.assert_allclose(lines[:, 1, 1], np.max(values, axis=0))
        np.testing.assert_allclose(lines[:, :, 0], points[:, [0, 0]])
        assert np.max(values) <= axes.get_ylim()[1]
    assert axes.get_ylim()[0] == 0


def test_who_is_who(store: MadeStore) -> None:
    """Numbers on the axis are those of the list below, colors those of the legend."""
    picture = store.draw("wahba").pictures[0]
    axes = picture.figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(map(str, range(1, 21)))
    assert picture.key == AUGMENTATIONS
    assert [line.get_color() for line in axes.lines] == [method_color(0), method_color(1)]
    (legend,) = picture.figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["SimCLR (n = 2 seeds)", "CARE (n = 2 seeds)"]
    assert [line.get_color() for line in legend.get_lines()] == [method_color(0), method_color(1)]


def test_single_operations(store: MadeStore) -> None:
    picture = store.draw("wahba").pictures[1]
    left, right = picture.figure.axes
    assert [tick.get_text() for tick in left.get_yticklabels()] == list(OPERATIONS)
    for axes, measure in ((left, "named_wahba"), (right, "named_gamma")):
        for points, lines, values in zip(
            marks(axes), ranges(axes), store.arrays(f"head/{measure}").values(), strict=True
        ):
            np.testing.assert_allclose(points[:, 0], np.mean(values, axis=0))
            np.testing.assert_allclose(lines[:, 1, 0], np.max(values, axis=0))
            assert np.round(points[:, 1]).tolist() == [0, 1, 2]
            assert np.max(values) <= axes.get_xlim()[1]


def test_an_unbounded_ratio_does_not_hide_the_others(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """γ_f of an operation that hardly moves most images, as measured on CIFAR-10."""
    store = MadeStore(tmp_path)
    gammas = np.array([0.1, 5000.0, 0.3])
    store.add("CARE", 0, details=image_details(rng) | {"head/named_gamma": gammas})
    left, right = store.draw("wahba").pictures[1].figure.axes
    assert (left.get_xscale(), right.get_xscale()) == ("linear", "log")
    low, high = right.get_xlim()
    assert low < 0.1
    assert high > 5000
    np.testing.assert_allclose(marks(right)[0][:, 0], gammas)
    shown = [tick.get_text() for tick in right.get_xticklabels()]
    assert {"0.1", "10", "1,000"} <= set(shown)


def test_proteins_have_no_single_operations(tmp_path: Path) -> None:
    store = MadeStore(tmp_path)
    residuals = {"rotation/names": np.array(["10°", "20°"]), "head/wahba": np.array([0.1, 0.2])}
    store.add("CARE", 0, details=residuals)
    drawn = store.draw("wahba")
    assert [picture.name for picture in drawn.pictures] == ["wahba"]
    assert not drawn.left_out
