"""What the finished trials measured beyond numbers: arrays for the paper's figures, and remarks."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.comparison import Comparison, Point
from care.errors import CareError

NAME = "details.npz"
"""The file in a trial's folder; trials run before there was one have none."""

Array = NDArray[Any]


class Details:
    """The ``details.npz`` of a sweep's finished trials, read array by array when asked for.

    Args:
        store_trials: The folder of the trials' folders.
        comparison: Which trials count, and their points.
    """

    def __init__(self, store_trials: Path, comparison: Comparison) -> None:
        self._files: dict[Point, dict[int, Path]] = {}
        columns = [*comparison.axes, "seed", "trial_id"]
        for *point, seed, trial in comparison.done[columns].itertuples(index=False, name=None):
            file = store_trials / str(trial) / NAME
            if file.exists():
                self._files.setdefault(tuple(point), {})[int(seed)] = file

    def get(self, point: Point, name: str) -> dict[int, Array]:
        """An array by seed, in the order of the seeds, for the trials of a point that have it.

        Raises:
            CareError: A file is damaged.
        """
        found = {}
        for seed, file in sorted(self._files.get(point, {}).items()):
            array = _read(file, name)
            if array is not None:
                found[seed] = array
        return found

    def notes(self) -> dict[str, dict[Point, list[int]]]:
        """Each remark on the measures once, with the points and their seeds that it holds for."""
        found: dict[str, dict[Point, list[int]]] = {}
        for point in self._files:
            for seed, notes in self.get(point, "notes").items():
                for note in dict.fromkeys(map(str, notes)):
                    found.setdefault(note, {}).setdefault(point, []).append(seed)
        return found

    def seeds(self, point: Point) -> list[int]:
        """The seeds of a point whose trials have details."""
        return sorted(self._files.get(point, {}))


def _read(file: Path, name: str) -> Array | None:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return np.asarray(arrays[name]) if name in arrays else None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CareError(f"{file}: not a readable npz file ({error})") from error
