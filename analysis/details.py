"""The arrays and remarks that finished trials keep in ``details.npz``, for figures and notes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from numpy.typing import NDArray

from analysis.comparison import Comparison, Point
from care.system.files import DamagedFileError
from care.trials.trial_files import StoreFiles

Array = NDArray[Any]


class Details:
    """The details of a sweep's finished trials, each file read once and on demand.

    Args:
        files: The files of the store's trials.
        comparison: The finished trials and their points.
    """

    def __init__(self, files: StoreFiles, comparison: Comparison) -> None:
        self._trials: dict[Point, dict[int, str]] = {}
        columns = [*comparison.axes, "seed", "trial_id"]
        for *point, seed, trial in comparison.done[columns].itertuples(index=False, name=None):
            self._trials.setdefault(tuple(point), {})[int(seed)] = str(trial)
        self._files = files
        self._read = cache(self._read_once)
        self._damaged: dict[str, str] = {}

    def _read_once(self, trial: str) -> Mapping[str, Array]:
        try:
            return self._files.trial(trial).read_details()
        except DamagedFileError as error:
            self._damaged[trial] = error.problem
            return {}

    def damaged(self) -> dict[Point, dict[int, str]]:
        """Return the problem of each damaged file, by point and seed."""
        problems: dict[Point, dict[int, str]] = {}
        for point, trials in self._trials.items():
            for seed, trial in trials.items():
                self._read(trial)
                if trial in self._damaged:
                    problems.setdefault(point, {})[seed] = self._damaged[trial]
        return problems

    def get(self, point: Point, name: str) -> dict[int, Array]:
        """Return an array by ascending seed, for the trials of a point that have it."""
        trials = sorted(self._trials.get(point, {}).items())
        arrays = {seed: self._array(trial, name) for seed, trial in trials}
        return {seed: array for seed, array in arrays.items() if array is not None}

    def _array(self, trial: str, name: str) -> Array | None:
        try:
            return self._read(trial).get(name)
        except DamagedFileError as error:  # an array may be decoded only now
            self._damaged[trial] = error.problem
            return None

    def notes(self) -> dict[str, dict[Point, list[int]]]:
        """Map each remark on the measures to the points and seeds that it holds for."""
        seeds_of: dict[str, dict[Point, list[int]]] = {}
        for point in self._trials:
            for seed, notes in self.get(point, "notes").items():
                for note in dict.fromkeys(map(str, notes)):
                    seeds_of.setdefault(note, {}).setdefault(point, []).append(seed)
        return seeds_of

    def seeds(self, point: Point) -> list[int]:
        """Return the seeds of a point whose trials have a list of remarks, empty or not."""
        return list(self.get(point, "notes"))
