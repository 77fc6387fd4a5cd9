"""A trial with damaged files resumes to equal numbers, or is left unchanged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from care.config import TrialConfig
from care.config.loading import validate
from care.errors import CareError
from care.system.files import DamagedFileError
from care.training.trial_run import TrialRun
from care.trials import checkpoint
from care.trials.condition import examine
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.state import State
from tests.conftest import TINY
from tests.helpers.comparing import assert_equal_numbers, assert_equal_to_the_bit
from tests.helpers.damaging import DAMAGES, contents

KINDS = ("missing", "empty", "zeroed", "null", "list", "other types", "folder", "dead link")
REBUILT = ("status.json", "evaluation.json", "details.npz")
KEPT = ("trial.json", "provenance.json", "metrics.jsonl")


@pytest.fixture(scope="module")
def config() -> TrialConfig:
    training = {**TINY["training"], "epochs": 2}
    return validate(TrialConfig, {**TINY, "training": training}, "test")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, config: TrialConfig) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "trial"
    run = TrialRun(config, TrialFolder(folder))
    while not run.finished:
        run.advance()
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "trial"))


def resume(config: TrialConfig, folder: Path) -> list[str]:
    """Run to the end; the lines for the user."""
    lines: list[str] = []
    run = TrialRun(config, TrialFolder(folder), lines.append)
    while not run.finished:
        run.advance()
    return lines


@pytest.mark.parametrize("name", REBUILT)
def test_what_can_be_rebuilt_is_and_the_damaged_file_is_kept(
    config: TrialConfig, finished: Path, folder: Path, name: str
) -> None:
    for kind in KINDS if name == "status.json" else ("cut", "folder"):
        DAMAGES[kind](folder / name)
        lines = resume(config, folder)
        assert len([line for line in lines if line.startswith(f"{name} ")]) == 1, kind
        assert_equal_to_the_bit(folder, finished, kind)
        kept = list(folder.glob(f"{name}.damaged-*"))
        assert len(kept) == (kind != "missing"), kind
        for path in kept:
            path.rename(folder.parent / f"{path.name}-{kind}")
        status = TrialFolder(folder).read_status()
        assert status
        assert status.state == State.FINISHED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", KEPT)
def test_what_cannot_be_rebuilt_is_left_as_it_lies(
    config: TrialConfig, folder: Path, name: str, kind: str
) -> None:
    DAMAGES[kind](folder / name)
    before = contents(folder)
    with pytest.raises(DamagedFileError, match=name):
        TrialRun(config, TrialFolder(folder))
    assert contents(folder) == before


@pytest.mark.parametrize("kind", ["empty", "bad middle line", "named pipe"])
@pytest.mark.parametrize("name", ["starts.jsonl", "timings.jsonl"])
def test_what_the_machine_did_is_no_part_of_the_numbers(
    config: TrialConfig, finished: Path, folder: Path, name: str, kind: str
) -> None:
    newest = max(folder.glob("checkpoint-*"))
    newest.unlink()
    TrialFolder(folder).write_status(State.PAUSED, 1, 2)
    DAMAGES[kind](folder / name)
    lines = resume(config, folder)
    assert_equal_to_the_bit(folder, finished, kind)
    assert bool(lines) == (kind != "empty")
    assert len(list(folder.glob(f"{name}.damaged-*"))) == bool(lines)


@pytest.mark.parametrize("kind", ["cut", "folder", "named pipe"])
def test_a_checkpoint_that_is_none_is_passed_over(
    config: TrialConfig, finished: Path, folder: Path, kind: str
) -> None:
    TrialFolder(folder).write_status(State.PAUSED, 2, 2)
    DAMAGES[kind](max(folder.glob("checkpoint-*")))
    assert "the previous one is used" in resume(config, folder)[0]
    assert_equal_to_the_bit(folder, finished, kind)


def test_a_file_in_place_of_the_evaluations_folder_makes_room(
    config: TrialConfig, finished: Path, folder: Path
) -> None:
    TrialFolder(folder).write_status(State.PAUSED, 2, 2)
    (folder / "evaluation").write_text("?")
    assert resume(config, folder)[0].startswith("evaluation is a file where a folder belongs")
    assert_equal_to_the_bit(folder, finished)


@pytest.mark.parametrize("name", ["evaluation.json", "details.npz", "status.json"])
def test_weights_alone_repeat_the_evaluation(
    config: TrialConfig, finished: Path, folder: Path, name: str
) -> None:
    """Without an epoch of training: nothing is appended to the logs."""
    assert checkpoint.keep_only_weights(folder, 2, trial_id(config), pytest.fail)
    assert examine(TrialFolder(folder), config).status == TrialFolder(folder).read_status()
    timings = (folder / "timings.jsonl").read_bytes()
    DAMAGES["cut"](folder / name)
    assert not examine(TrialFolder(folder), config).damage
    resume(config, folder)
    assert_equal_numbers(folder, finished, name)
    assert (folder / "timings.jsonl").read_bytes() == timings
    assert [path.name[:7] for path in folder.glob("*.pt")] == ["weights"]


def test_damaged_weights_are_trained_a_second_time(
    config: TrialConfig, finished: Path, folder: Path
) -> None:
    assert checkpoint.keep_only_weights(folder, 2, trial_id(config), pytest.fail)
    DAMAGES["flipped"](next(folder.glob("weights-*.pt")))
    DAMAGES["cut"](folder / "evaluation.json")
    lines = resume(config, folder)
    assert any(line.startswith("weights-000002-") for line in lines)
    assert_equal_to_the_bit(folder, finished)


def test_another_trials_folder_is_not_written(
    config: TrialConfig, folder: Path, tiny_config: TrialConfig
) -> None:
    before = contents(folder)
    with pytest.raises(CareError, match=r"trial\.json holds the configuration of another trial"):
        TrialRun(tiny_config, TrialFolder(folder))
    assert contents(folder) == before
