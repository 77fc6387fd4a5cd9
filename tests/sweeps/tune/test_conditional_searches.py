"""Searches of spaces with conditions, zipped axes, steps and integers: replayed as others are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.labels import UNUSED
from sweeps.event_log import read_decisions
from tests.helpers.declaring import SPLITS, WEIGHT
from tests.helpers.searching import Driver, interrupt_again_and_again, optuna_sweep

TEMPERATURE, EPOCHS, RATE = "objective.temperature", "training.epochs", "optimizer.learning_rate"
SAMPLERS: dict[str, dict[str, Any]] = {
    "random": {},
    "tpe": {"multivariate": True, "group": True, "startup": 4},
    "gp": {"startup": 4, "trials": 8},
    "qmc": {},
    "nsga2": {"population": 4},
}
AXES: dict[str, Any] = {
    WEIGHT: {"low": 1e-3, "high": 1, "log": True},
    TEMPERATURE: {"low": 0.1, "high": 0.5, "step": 0.1, "when": {SPLITS: [8, 16]}},
    SPLITS: [4, 8, 16],
    EPOCHS: {"low": 1, "high": 64, "log": True},
    "optimizer.name": ["adam", "sgd"],
    RATE: [1e-3, 0.1],
}


def searched(folder: Path, sampler: str) -> Driver:
    folder.mkdir(exist_ok=True)
    search = {"name": "optuna", "trials": 14, "sampler": sampler, **SAMPLERS[sampler]}
    zips = ["optimizer.name", RATE]
    return Driver(optuna_sweep(folder, axes=AXES, zip=zips, seeds=1, search=search), folder / "log")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_interrupted_again_and_again(sampler: str, tmp_path: Path) -> None:
    whole = searched(tmp_path / "undisturbed", sampler)
    for _ in whole.run():
        pass
    interrupt_again_and_again(whole, tmp_path / "parts")
    for suggestion in read_decisions(whole.folder).suggestions:
        point = suggestion.point
        assert (point[TEMPERATURE] == UNUSED) == (point[SPLITS] == 4)
        assert point[TEMPERATURE] in (UNUSED, 0.1, 0.2, 0.3, 0.4, 0.5)
        assert (point["optimizer.name"], point[RATE]) in (("adam", 1e-3), ("sgd", 0.1))
        assert type(point[EPOCHS]) is int
        assert whole.sweep.trial(point, 0).training.epochs == point[EPOCHS]
