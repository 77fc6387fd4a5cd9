"""A trial that is killed and run again ends with the numbers of an undisturbed one, bit for bit."""

from __future__ import annotations

import json
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from care.config import TrialConfig
from care.config.loading import validate
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.crashing import copy_after_every_write, run_trial

EPOCHS = 2
# trial, provenance, start, status; timings, metrics, checkpoint, status an epoch; geometry, what is
# read out, color; details, evaluation, status
WRITES = 4 + 4 * EPOCHS + 3 + 3


@pytest.fixture(scope="module")
def config() -> TrialConfig:
    tree = {
        "model": {"encoder": "small", "head": {"hidden": 32, "output": 16}},
        "objective": {"equivariance": {"weight": 0.1, "splits": 16}},
        "training": {"epochs": EPOCHS, "batch_size": 256},
        "evaluation": {"monitor_images": 32, "rotation_augmentations": 2, "knn_neighbors": 5},
        "runtime": {"threads": 1},
    }
    return validate(TrialConfig, tree, "test")


@pytest.fixture(scope="module")
def undisturbed(config: TrialConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_trial(config, folder) == 0
    return folder


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_killed_at_every_write(config: TrialConfig, undisturbed: Path, tmp_path: Path) -> None:
    """One training is copied after each write; two of the copies at a time are resumed.

    A process that a signal killed after a write leaves what the copy of that write holds.
    """
    copy_after_every_write(config, tmp_path / "copied", tmp_path / "copies")
    folders = sorted((tmp_path / "copies").iterdir())
    assert len(folders) == WRITES
    number = 4 + 2 * EPOCHS
    assert run_trial(config, tmp_path / "killed", ("write", number)) == -signal.SIGKILL
    assert files(tmp_path / "killed") == files(folders[number])
    folders.append(tmp_path / "killed")
    with ThreadPoolExecutor(2) as threads:
        statuses = list(threads.map(lambda folder: run_trial(config, folder), folders))
    assert statuses == [0] * len(folders)
    for folder in (tmp_path / "copied", *folders):
        assert_equal_to_the_bit(folder, undisturbed, f"killed after write {folder.name}")


@pytest.mark.parametrize("flush", [7, 8, 9, 10, 22])
def test_killed_with_a_file_half_in_place(
    config: TrialConfig, undisturbed: Path, tmp_path: Path, flush: int
) -> None:
    assert run_trial(config, tmp_path, ("sync", flush)) == -signal.SIGKILL
    assert run_trial(config, tmp_path) == 0
    assert_equal_to_the_bit(tmp_path, undisturbed)


@pytest.mark.parametrize("step", [0, 3, 7])
def test_killed_inside_an_epoch_again_and_again(
    config: TrialConfig, undisturbed: Path, tmp_path: Path, step: int
) -> None:
    assert run_trial(config, tmp_path, ("step", step)) == -signal.SIGKILL
    assert run_trial(config, tmp_path, ("step", 2)) == -signal.SIGKILL
    assert run_trial(config, tmp_path) == 0
    assert_equal_to_the_bit(tmp_path, undisturbed)


def test_damaged_checkpoint_and_torn_log_cost_an_epoch_only(
    config: TrialConfig, undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "trial"
    assert run_trial(config, folder, ("write", 4 + 4 * EPOCHS)) == -signal.SIGKILL
    newest = max(folder.glob("checkpoint-*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100])
    with (folder / "metrics.jsonl").open("a") as log:
        log.write('{"epoch": 3, "train/lo')
    assert run_trial(config, folder) == 0
    assert_equal_to_the_bit(folder, undisturbed)


def test_a_finished_trial_is_left_alone(
    config: TrialConfig, undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(undisturbed, folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json*")}
    assert run_trial(config, folder) == 0
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json*")} == before


def test_metrics_hold_what_the_issue_names(undisturbed: Path) -> None:
    lines = [json.loads(line) for line in (undisturbed / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, EPOCHS + 1))
    for name in (
        "train/loss",
        "train/infonce",
        "train/equivariance",
        "train/positive_cosine",
        "heldout/gamma",
        "heldout/alignment",
        "heldout/uniformity",
        "learning_rate",
    ):
        assert all(isinstance(line[name], float) for line in lines), name
