"""What the finished trials measured beyond numbers: arrays for the paper's figures, and remarks."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from analysis.comparison import Comparison, Point
from care.trial_folder import TrialFolder

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
        self._read = cache(lambda trial: TrialFolder(store_trials / trial).read_details())

    def get(self, point: Point, name: str) -> dict[int, Array]:
        """An array by seed, in the order of the seeds, for the trials of a point that have it.

        Raises:
            CareError: A file is damaged.
        """
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
