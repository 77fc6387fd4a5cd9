"""When a trial is measured, and that measuring changes nothing else, however the trial is run."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from care.config import TrialConfig
from care.config.loading import validate
from care.data.shared_batches import SharedBatches
from care.registry import MONITORED
from care.training.pack import lockstep
from care.training.trial_run import TrialRun
from care.trials.folder import TrialFolder
from tests.conftest import TINY
from tests.helpers.comparing import assert_equal, assert_equal_to_the_bit
from tests.helpers.crashing import run_trial

EPOCHS = 3
ALL = {"every": 2, "measures": list(MONITORED), "train_images": 200, "test_images": 100}


def config(monitor: dict[str, Any], weight: float = 0.1) -> TrialConfig:
    tree = {
        **TINY,
        "objective": {"equivariance": {"weight": weight, "splits": 16}},
        "training": {"epochs": EPOCHS, "batch_size": 256},
        "evaluation": {**TINY["evaluation"], "monitor": monitor},
    }
    return validate(TrialConfig, tree, "test")


def train(trial: TrialConfig, folder: Path) -> list[dict[str, float]]:
    run = TrialRun(trial, TrialFolder(folder))
    while not run.finished:
        run.advance()
    return TrialFolder(folder).read_metrics()


def held_out(line: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name.startswith("heldout/")}


def weights(folder: Path) -> Any:
    newest = max(folder.glob("checkpoint-*.pt"))
    return torch.load(newest, weights_only=True)["network"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> TrialFolder:
    """A trial with every measure, undisturbed."""
    folder = tmp_path_factory.mktemp("measured")
    train(config(ALL), folder)
    return TrialFolder(folder)


def test_every_second_epoch_and_the_last(measured: TrialFolder, tmp_path: Path) -> None:
    seldom = measured.read_metrics()
    often = train(config({**ALL, "every": 1}), tmp_path)
    assert [bool(held_out(line)) for line in seldom] == [False, True, True]
    names = {name for entry in MONITORED.values() for name in entry.names}
    for number in (1, 2):
        assert set(held_out(seldom[number])) == names
        assert seldom[number] == often[number]
    timings = measured.read_timings()
    assert [bool(timing.monitor_seconds) for timing in timings] == [False, True, True]
    assert all((timing.monitor_seconds or 0) < timing.seconds for timing in timings)


def test_the_training_and_the_final_measures_stay_as_they_were(
    measured: TrialFolder, tmp_path: Path
) -> None:
    plain, more = train(config({}), tmp_path), measured.read_metrics()
    assert_equal(weights(measured.path), weights(tmp_path))
    assert measured.read_evaluation() == TrialFolder(tmp_path).read_evaluation()
    for number, (line, longer) in enumerate(zip(plain, more, strict=True)):
        kept = line.items() if number else line.items() - held_out(line).items()
        assert longer.items() >= kept


def test_a_killed_trial_has_the_numbers_of_an_undisturbed_one(
    measured: TrialFolder, tmp_path: Path
) -> None:
    for step in (7, 2):
        assert run_trial(config(ALL), tmp_path, ("step", step)) == -signal.SIGKILL
    assert run_trial(config(ALL), tmp_path) == 0
    assert_equal_to_the_bit(tmp_path, measured.path)


def test_a_packed_trial_has_the_numbers_of_one_alone(measured: TrialFolder, tmp_path: Path) -> None:
    shared = SharedBatches()
    runs = [
        TrialRun(config(ALL, weight), TrialFolder(tmp_path / str(weight)), shared=shared)
        for weight in (0.1, 1.0)
    ]
    for _ in range(EPOCHS):
        for _ in lockstep(runs):
            pass
    assert_equal_to_the_bit(tmp_path / "0.1", measured.path)
