"""``care export`` and ``care reproduce``, as a user types them."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.helpers.declaring import declare
from tests.helpers.processes import care

TRAIN = ("train", "experiment.yaml", "training.epochs=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one trial was trained, and exported to ``encoder``."""
    folder = tmp_path_factory.mktemp("trained")
    declare(folder)
    care(*TRAIN, cwd=folder)
    (trial,) = (folder / "runs" / "trials").iterdir()
    done = care("export", trial.name[:4], "--to", "encoder", cwd=folder)
    assert "load it: care.load('encoder')" in done.stdout
    assert done.stderr == ""
    return folder


def test_the_card_alone_trains_the_same_weights_again(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "encoder" / "README.md", tmp_path)
    done = care("reproduce", "README.md", cwd=tmp_path)
    sha256 = json.loads((folder / "encoder" / "config.json").read_text())["sha256"]
    assert f"equal, bit for bit: SHA-256 {sha256}" in done.stdout
    assert "epoch 1/1" in done.stdout
    again = care("reproduce", "README.md", cwd=tmp_path)
    assert "already has trial" in again.stdout
    assert "loss" not in again.stdout


def test_other_weights_are_reported_with_all_that_differs(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder / "encoder", tmp_path / "encoder")
    config = copied / "config.json"
    record = json.loads(config.read_text())
    record["sha256"] = "0" * 64
    record["provenance"]["versions"]["torch"] = "1.0"
    record["provenance"]["device_name"] = "another processor"
    record["measures"]["head/gamma"] += 0.25
    config.write_text(json.dumps(record))
    done = care("reproduce", copied, cwd=folder, check=False)
    assert done.returncode == 1
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert f"recorded {'0' * 64}" in done.stdout
    assert "device_name: another processor recorded, cpu here" in lines
    assert any(re.fullmatch(r"versions, torch: 1\.0 recorded, 2\S* here", line) for line in lines)
    assert any(line.startswith("1 of ") and "measures differ" in line for line in lines)
    assert any(line.startswith("head/gamma: ") for line in lines)
    assert not any(line.startswith(("threads", "code_version")) for line in lines)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("export", "zzz", "--to", "new"), ["'zzz'", "there is no such path"]),
        (("export", "0" * 16, "--to", "new"), ["one of the store's 1 trials"]),
        (("export", "encoder", "--to", "new"), ["this is an export, which can be copied"]),
        (("export", "runs", "--to", "new"), ["this folder has neither"]),
        (
            ("reproduce", "absent"),
            ["absent", "'care export TRIAL --to DIR' wrote, or its model card"],
        ),
        (("reproduce", "experiment.yaml"), ["holds no configuration", "a card"]),
        (("reproduce", "encoder", "seed=3"), ["seed", "others make another trial"]),
        (("reproduce", "encoder", "runtime.thread=3"), ["runtime.thread", "'threads'"]),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(
    folder: Path, arguments: tuple[str, ...], parts: list[str]
) -> None:
    before = sorted(os.listdir(folder))
    done = care(*arguments, cwd=folder, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
    assert all(part in done.stderr for part in parts), done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(os.listdir(folder)) == before


def test_an_unfinished_export_cannot_be_reproduced(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder / "encoder", tmp_path / "encoder")
    record = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**record, "epoch": 0}))
    done = care("reproduce", copied, cwd=folder, check=False)
    assert done.returncode == 2
    assert "after 0 of 1 epochs" in done.stderr
