"""Figs 3, 17 to 20: the paths of embeddings under rotations of space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tests.helpers.example_store import MadeStore, protein_details


def panels(figure: Figure) -> list[Axes]:
    """Row after row, without the colors' bar."""
    return [axes for axes in figure.axes if axes.get_aspect() == 1]


def path(axes: Axes) -> PathCollection:
    (points,) = [drawn for drawn in axes.collections if isinstance(drawn, PathCollection)]
    return points


def places(axes: Axes) -> NDArray[np.float64]:
    return np.asarray(path(axes).get_offsets(), dtype=float)


def test_rows_are_methods_and_columns_axes(store: MadeStore) -> None:
    pictures = store.draw("trajectories").pictures
    stored = store.arrays("head/trajectories")
    assert len(pictures) == 3
    for protein, picture in enumerate(pictures):
        grid = panels(picture.figure)
        assert len(grid) == 2 * 3
        for place, axes in enumerate(grid):
            method = ("SimCLR", "CARE")[place // 3]
            expected = stored[method][0][protein, place % 3]
            np.testing.assert_allclose(places(axes), expected)
            for limits, column in zip((axes.get_xlim(), axes.get_ylim()), expected.T, strict=True):
                assert limits[0] < column.min()
                assert column.max() < limits[1]
            assert np.ptp(axes.get_xlim()) == pytest.approx(np.ptp(axes.get_ylim()))
        assert [axes.get_ylabel() for axes in grid[::3]] == ["SimCLR", "CARE"]
        titles = [axes.get_title(loc="left") for axes in grid[:3]]
        assert titles == [f"about the {axis} axis" for axis in "xyz"]
        assert picture.figure.get_suptitle() == f"Protein {protein + 1}, seed 0"


def test_the_color_is_the_angle(store: MadeStore) -> None:
    figure = store.draw("trajectories").pictures[0].figure
    for axes in panels(figure):
        colors: NDArray[np.float64] = np.asarray(path(axes).get_array())
        np.testing.assert_allclose(colors, np.arange(100) * 3.6)
        assert path(axes).get_clim() == (0, 360)


def test_methods_are_shown_at_the_first_seed_that_all_have(
    store: MadeStore, rng: np.random.Generator
) -> None:
    store.add("L_unif", 1, details=protein_details(rng))
    figure = store.draw("trajectories").pictures[0].figure
    assert figure.get_suptitle() == "Protein 1, seed 1"
    expected = store.arrays("head/trajectories")["CARE"][1][0, 0]
    np.testing.assert_allclose(places(panels(figure)[3]), expected)


def test_seeds_stand_at_the_rows_where_none_is_common(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    store = MadeStore(tmp_path)
    store.add("CARE", 4, details=protein_details(rng))
    store.add("SimCLR", 2, details=protein_details(rng))
    figure = store.draw("trajectories").pictures[0].figure
    assert figure.get_suptitle() == "Protein 1"
    labels = [axes.get_ylabel() for axes in panels(figure)[::3]]
    assert labels == ["CARE\nseed 4", "SimCLR\nseed 2"]


def test_the_size_of_a_path_is_shown(tmp_path: Path) -> None:
    """A circle of radius 0.25, its tenth millionth, which is rounding, and a point."""
    angles = np.arange(100) * 2 * np.pi / 100
    circle = 0.25 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    paths = np.stack([circle, 1e-7 * circle, 0 * circle])
    store = MadeStore(tmp_path)
    store.add("CARE", 0, details={"head/trajectories": paths[None]})
    (picture,) = store.draw("trajectories").pictures
    grid = panels(picture.figure)
    assert [axes.get_xlabel() for axes in grid] == ["r = 0.25", "r = 0", "r = 0"]
    assert np.ptp(grid[1].get_xlim()) > 1
