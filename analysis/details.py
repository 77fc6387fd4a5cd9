"""What the finished trials measured beyond numbers: arrays for the paper's figures, and remarks."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from analysis.comparison import Comparison, Point
from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder

Array = NDArray[Any]


class Details:
    """The details of a sweep's finished trials, each read once, when it is asked for.

    Args:
        store_trials: The folder of the trials' folders.
        comparison: Which trials count, and their points.
    """

    def __init__(self, store_trials: Path, comparison: Comparison) -> None:
        self._trials: dict[Point, dict[int, str]] = {}
        columns = [*comparison.axes, "seed", "trial_id"]
        for *point, seed, trial in comparison.done[columns].itertuples(index=False, name=None):
            self._trials.setdefault(tuple(point), {})[int(seed)] = str(trial)
        self._store_trials = store_trials
        self._read = cache(self._read_once)
        self._damaged: dict[str, str] = {}

    def _read_once(self, trial: str) -> dict[str, Array]:
        try:
            return TrialFolder(self._store_trials / trial).read_details()
        except DamagedFileError as error:
            self._damaged[trial] = error.problem
            return {}

    def damaged(self) -> dict[Point, dict[int, str]]:
        """Name the problem of each file that cannot be read, by point and seed."""
        found: dict[Point, dict[int, str]] = {}
        for point, trials in self._trials.items():
            for seed, trial in trials.items():
                self._read(trial)
                if trial in self._damaged:
                    found.setdefault(point, {})[seed] = self._damaged[trial]
        return found

    def get(self, point: Point, name: str) -> dict[int, Array]:
        """An array by seed, in the order of the seeds, for the trials of a point that have it."""
        trials = sorted(self._trials.get(point, {}).items())
        found = {seed: self._read(trial).get(name) for seed, trial in trials}
        return {seed: array for seed, array in found.items() if array is not None}

    def notes(self) -> dict[str, dict[Point, list[int]]]:
        """Each remark on the measures once, with the points and their seeds that it holds for."""
        found: dict[str, dict[Point, list[int]]] = {}
        for point in self._trials:
            for seed, notes in self.get(point, "notes").items():
                for note in dict.fromkeys(map(str, notes)):
                    found.setdefault(note, {}).setdefault(point, []).append(seed)
        return found

    def seeds(self, point: Point) -> list[int]:
        """The seeds of a point whose trials say whether there is something to remark."""
        return list(self.get(point, "notes"))
