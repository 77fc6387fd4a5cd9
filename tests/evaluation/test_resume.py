"""A stopped or killed final evaluation resumes, to equal numbers."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from care.config import TrialConfig
from care.config.loading import validate
from care.evaluation import geometry as final_geometry
from care.evaluation import sgd_probe as trained_probe
from care.evaluation.geometry import compare_views
from care.system.claim import Claim
from care.training.trial_run import TrialRun
from care.trials.folder import TrialFolder
from tests.conftest import TINY
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.crashing import run_trial

STEPS = 1  # of the only epoch, in which other tests stop
DATA = {"train_images": 300, "test_images": 100}
PROBE = {"protocols": ["paper", "authors"], "epochs": 3, "milestones": [1], "initializations": 2}


@pytest.fixture(scope="module")
def config() -> TrialConfig:
    evaluation = {**TINY["evaluation"], "trained_probe": PROBE}
    training = {**TINY["training"], "epochs": 1}
    # Every asking saves, so that a kill finds a state of each epoch.
    runtime = {**TINY["runtime"], "checkpoint_seconds": 1e-6}
    tree = {
        **TINY,
        "data": DATA,
        "training": training,
        "evaluation": evaluation,
        "runtime": runtime,
    }
    return validate(TrialConfig, tree, "test")


class Stop:
    """Says yes once, at the ``number``-th asking; counts the askings."""

    def __init__(self, number: int | None) -> None:
        self.asked, self._number = 0, number

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked - 1 == self._number


def run(config: TrialConfig, path: Path, stops: list[Stop]) -> list[str]:
    """Run to the end, paused by each stop in turn; the states after each run."""
    states: list[str] = []
    for stop in stops:
        with Claim.take(path) or pytest.fail("claimed"):
            trial = TrialRun(config, TrialFolder(path))
            while not trial.finished and trial.advance(stop) is not None:
                pass
            status = TrialFolder(path).read_status()
            assert status
            states.append(status.state)
    return states


@pytest.fixture(scope="module")
def undisturbed(config: TrialConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(config, folder, [Stop(None)]) == ["finished"]
    return folder


def test_stopped_at_any_asking(config: TrialConfig, undisturbed: Path, tmp_path: Path) -> None:
    counted = Stop(None)
    run(config, tmp_path / "counted", [counted])
    assert counted.asked - STEPS >= 4 + 2 * PROBE["epochs"]  # type: ignore[operator]
    for number in range(STEPS, counted.asked):
        folder = tmp_path / str(number)
        assert run(config, folder, [Stop(number), Stop(None)]) == ["paused", "finished"]
        assert_equal_to_the_bit(folder, undisturbed, f"stopped at asking {number}")
        assert not (folder / "evaluation").exists()


def test_stopped_again_and_again_nothing_is_measured_twice(
    config: TrialConfig, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    epochs: list[int] = []
    rate = trained_probe.learning_rate

    def noted_geometry(*arguments: object, **options: object) -> object:
        measured.append("geometry")
        return compare_views(*arguments, **options)  # type: ignore[arg-type]

    def noted_rate(probe: object, epoch: int) -> float:
        epochs.append(epoch)
        return rate(probe, epoch)  # type: ignore[arg-type]

    monkeypatch.setattr(final_geometry, "compare_views", noted_geometry)
    monkeypatch.setattr(trained_probe, "learning_rate", noted_rate)
    run(config, tmp_path, [Stop(STEPS)])
    states: list[str] = []
    while states[-1:] != ["finished"]:
        states += run(config, tmp_path, [Stop(2)])  # the first two may be at one place
    assert states.count("paused") >= 4
    assert measured == ["geometry"]
    assert epochs == [0, 1, 2] * 2
    assert_equal_to_the_bit(tmp_path, undisturbed)


@pytest.mark.timeout(900)
def test_killed_at_any_write(config: TrialConfig, undisturbed: Path, tmp_path: Path) -> None:
    before = 4 + 2 + 2  # trial, provenance, start, status; the epoch's logs, checkpoint, status
    number = before
    while run_trial(config, tmp_path / str(number), ("write", number)) == -signal.SIGKILL:
        folder = tmp_path / str(number)
        assert run_trial(config, folder) == 0
        assert_equal_to_the_bit(folder, undisturbed, f"killed after write {number}")
        number += 1
    assert number - before > 5 + 2 * 2, "every part, every save of a probe, and the end"


@pytest.mark.parametrize("name", ["geometry.npz", "probe-paper.npz"])
def test_a_damaged_part_is_measured_again(
    config: TrialConfig, undisturbed: Path, tmp_path: Path, name: str
) -> None:
    askings = STEPS
    while not (tmp_path / "evaluation" / name).exists():
        run(config, tmp_path, [Stop(askings)])
        askings = 2
    part = tmp_path / "evaluation" / name
    part.write_bytes(part.read_bytes()[:-20])
    warnings: list[str] = []
    with Claim.take(tmp_path) or pytest.fail("claimed"):
        trial = TrialRun(config, TrialFolder(tmp_path), warnings.append)
        trial.advance()
    assert any(f"{name} is damaged" in warning for warning in warnings)
    assert_equal_to_the_bit(tmp_path, undisturbed)
