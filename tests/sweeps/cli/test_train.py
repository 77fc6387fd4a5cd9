"""``care train``: run, again, stopped, after damage, on a full disk."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.declaring import declare
from tests.helpers.processes import CARE, care, lines_in, start_care, wait_for

TRAIN = ("train", "experiment.yaml")


def trial_in(folder: Path) -> Path:
    (trial,) = (folder / "runs" / "trials").iterdir()
    return trial


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    declare(folder)
    assert "epoch 3/3" in care(*TRAIN, cwd=folder).stdout
    return folder


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A trial that Ctrl-C stopped after its second epoch or inside the third."""
    declare(tmp_path)
    run = start_care(*TRAIN, cwd=tmp_path)
    trials = tmp_path / "runs" / "trials"
    wait_for(lambda: sum(map(lines_in, trials.glob("*/metrics.jsonl"))) >= 2)
    run.send_signal(signal.SIGINT)
    output = run.communicate(timeout=60)[0]
    if run.returncode == 130:
        assert "Repeat the command to resume" in output
    return tmp_path


def test_stopped_and_run_again(stopped: Path, undisturbed: Path) -> None:
    care(*TRAIN, cwd=stopped)
    assert_equal_to_the_bit(trial_in(stopped), trial_in(undisturbed))


def test_finished_is_shown_and_not_run_again(undisturbed: Path) -> None:
    def files() -> dict[Path, int]:
        numbers = trial_in(undisturbed).glob("[!c]*")  # all but checkpoints and claims
        return {path: path.stat().st_mtime_ns for path in numbers}

    before = files()
    output = care(*TRAIN, cwd=undisturbed).stdout
    assert "head/gamma" in output
    assert "epoch 1/3" not in output
    assert files() == before


def test_a_lost_evaluation_is_measured_again(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(undisturbed, folder)
    (trial_in(folder) / "evaluation.json").unlink()
    output = care(*TRAIN, cwd=folder).stdout
    assert "epoch 3/3" in output
    assert "images/s" not in output, "nothing was trained"
    assert_equal_to_the_bit(trial_in(folder), trial_in(undisturbed))


def damage_checkpoint(trial: Path) -> None:
    newest = max(trial.glob("checkpoint-*.pt"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    newest.write_bytes(content)


def tear_log(trial: Path) -> None:
    with (trial / "metrics.jsonl").open("ab") as log:
        log.write(b'{"epoch": 3, "train/lo')


@pytest.mark.parametrize(
    ("damage", "said"), [(damage_checkpoint, "is damaged"), (tear_log, "epoch 3/3")]
)
def test_damage_is_mended(
    stopped: Path, undisturbed: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(trial_in(stopped))
    done = care(*TRAIN, cwd=stopped)
    assert said in done.stdout + done.stderr
    assert_equal_to_the_bit(trial_in(stopped), trial_in(undisturbed))


@pytest.mark.parametrize("largest", [200, 100_000])
def test_a_full_disk_ends_it_with_a_message_and_loses_nothing(
    tmp_path: Path, undisturbed: Path, largest: int
) -> None:
    """No file can grow beyond ``largest`` bytes: what is over is refused, as on a full disk."""
    declare(tmp_path)
    done = subprocess.run(
        [*CARE, *TRAIN],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot write" in done.stderr
    assert "Free some space" in done.stderr
    for file in tmp_path.rglob("*.json"):
        json.loads(file.read_text())
    care(*TRAIN, cwd=tmp_path)
    assert_equal_to_the_bit(trial_in(tmp_path), trial_in(undisturbed))
