"""Figs 9, 21: thumbnails of neighbors, and of neighbors after a change of color."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from tests.helpers.example_store import SPACES, MadeStore, image_details


def strips(figure: Figure) -> NDArray[np.uint8]:
    """The images of each row, from left to right, [rows,6,h,w,3]."""
    rows = []
    for axes in figure.axes:
        images = sorted(axes.images, key=lambda image: image.get_extent()[0])
        rows.append([np.asarray(image.get_array()) for image in images])
    return np.array(rows, dtype=np.uint8)


@pytest.mark.parametrize("space", SPACES)
def test_four_queries_of_each_method(store: MadeStore, space: str) -> None:
    (picture,) = store.draw("flowers", f"{space}/color_following").pictures
    stored = [grids[0][:4] for grids in store.arrays(f"{space}/retrieval").values()]
    expected = np.concatenate(stored).reshape(-1, 6, 3, 8, 8)
    np.testing.assert_array_equal(strips(picture.figure), np.moveaxis(expected, 2, -1))


def test_labels(store: MadeStore) -> None:
    (picture,) = store.draw("flowers").pictures
    left = [axes.get_ylabel() for axes in picture.figure.axes[:8]]
    assert left == ["f(x)", "f(a(x))"] * 4
    turns = store.arrays("retrieval/shift")
    texts = [text.get_text() for text in picture.figure.texts]
    for method in ("SimCLR", "CARE"):
        place = texts.index(f"{method}, seed 0")
        labels = texts[place + 1 : place + 5]
        assert labels == [f"hue turned by {360 * turn:.0f}°" for turn in turns[method][0][:4]]


def test_the_query_is_framed_and_set_apart(store: MadeStore) -> None:
    (picture,) = store.draw("flowers").pictures
    for axes in picture.figure.axes:
        extents = sorted(image.get_extent() for image in axes.images)
        (frame,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert (frame.get_x(), frame.get_width()) == (extents[0][0], extents[0][1])
        gaps = [after[0] - before[1] for before, after in itertools.pairwise(extents)]
        assert gaps[0] > 2 * max(gaps[1:])
        assert min(gaps) > 0
        assert extents[-1][1] <= axes.get_xlim()[1] + 1e-9


def test_more_methods_take_more_pictures(tmp_path: Path, rng: np.random.Generator) -> None:
    store = MadeStore(tmp_path)
    for method in ("SimCLR", "CARE", "L_inv"):
        store.add(method, 0, details=image_details(rng))
    pictures = store.draw("flowers").pictures
    assert [picture.name for picture in pictures] == ["flowers-1", "flowers-2"]
    assert [len(picture.figure.axes) for picture in pictures] == [16, 8]
    assert [bool(picture.caption) for picture in pictures] == [False, True]


def test_one_query(tmp_path: Path, rng: np.random.Generator) -> None:
    details = image_details(rng)
    grid = details["head/retrieval"][:1]
    store = MadeStore(tmp_path)
    store.add("CARE", 0, details=details | {"head/retrieval": grid})
    (picture,) = store.draw("flowers").pictures
    np.testing.assert_array_equal(strips(picture.figure), np.moveaxis(grid[0], 2, -1))
