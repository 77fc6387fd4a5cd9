"""``care evaluate``: measure a trained network with other settings, without training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from care.trials import checkpoint
from tests.helpers.declaring import declare
from tests.helpers.processes import care


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one trial was trained."""
    folder = tmp_path_factory.mktemp("trained")
    declare(folder)
    care("train", "experiment.yaml", "training.epochs=1", cwd=folder)
    return folder


def trial_in(folder: Path) -> Path:
    (trial,) = (folder / "runs" / "trials").iterdir()
    return trial


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def evaluate(folder: Path, *fields: str) -> dict[str, float]:
    before = contents(folder)
    done = care("evaluate", trial_in(folder).name[:6], *fields, "--json", cwd=folder)
    assert contents(folder) == before
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_without_other_settings_it_is_the_trials_evaluation_to_the_bit(folder: Path) -> None:
    assert evaluate(folder) == json.loads((trial_in(folder) / "evaluation.json").read_text())


def test_other_settings_give_other_measures(folder: Path) -> None:
    before = json.loads((trial_in(folder) / "evaluation.json").read_text())
    fields = ("evaluation.trained_probe={protocols: [paper, authors], epochs: 2}",)
    found = evaluate(folder, *fields)
    assert before.items() <= found.items()
    kinds = ("accuracy", "top5", "spread")
    names = {f"encoder/{who}_probe_{kind}" for who in ("paper", "authors") for kind in kinds}
    assert set(found) - set(before) == names
    assert evaluate(folder, "evaluation.rotation_augmentations=1") != before


def test_a_list_for_people(folder: Path) -> None:
    done = care("evaluate", trial_in(folder).name, cwd=folder)
    lines = dict(line.split() for line in done.stdout.splitlines())
    assert lines["head/gamma"] == f"{evaluate(folder)['head/gamma']:.4f}"


BAD = [
    (("training.epochs=3",), ["training.epochs", "3", "fields of evaluation and runtime"]),
    (("evaluation.monitor.every=2",), ["evaluation.monitor.every", "while a trial trains"]),
    (("evaluation.knn_neighbours=3",), ["evaluation.knn_neighbours", "'knn_neighbors'"]),
    (("evaluation.trained_probe.protocols=[papers]",), ["protocols", "'papers'", "'paper'"]),
    (("evaluation.trained_probe.protocols=[paper, paper]",), ["protocols", "each once"]),
    (("evaluation.transfer=[{name: proteins}]",), ["transfer.0.name", "a data set of images"]),
    (("evaluation.transfer=[{name: digits}]",), ["transfer.0.name", "not the trial's own"]),
    (
        ("evaluation.transfer=[{name: cifar10, side: 32}]",),
        ["transfer.0.side", "16, the side of the trial's images"],
    ),
    (
        ("evaluation.trained_probe.optimizer.momentum=0.9",),
        ["evaluation.trained_probe.optimizer.momentum", "0 with adam"],
    ),
    (
        ("evaluation.trained_probe.optimizer.schedule=cosine",),
        ["evaluation.trained_probe.optimizer.schedule", "constant", "milestones"],
    ),
    (
        ("evaluation.trained_probe.augmentation={gaussian_blur: {kernel_size: 33}}",),
        ["trained_probe.augmentation.gaussian_blur.kernel_size", "at most 31 pixels"],
    ),
]


@pytest.mark.parametrize(("fields", "parts"), BAD)
def test_bad_fields_are_refused(folder: Path, fields: tuple[str, ...], parts: list[str]) -> None:
    done = care("evaluate", trial_in(folder).name, *fields, cwd=folder, check=False)
    assert done.returncode == 2
    assert all(part in done.stderr for part in parts), done.stderr


def test_an_unknown_trial_is_refused(folder: Path) -> None:
    done = care("evaluate", "zzz", cwd=folder, check=False)
    assert done.returncode == 2
    assert f"one of the store's 1 trials ({trial_in(folder).name})" in done.stderr


def test_a_damaged_checkpoint_is_passed_over_and_left_where_it_is(
    folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for file in trial_in(copy).glob("checkpoint-*.pt"):
        file.write_bytes(file.read_bytes()[:-9])
    before = contents(copy)
    done = care("evaluate", trial_in(copy).name, cwd=copy, check=False)
    assert done.returncode == 2
    assert "has no valid checkpoint or weights file" in done.stderr
    assert "is damaged" in done.stderr
    assert contents(copy) == before


def test_weights_alone_give_equal_measures_and_nothing_names_what_brings_them_back(
    folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    trial = trial_in(copy)
    assert checkpoint.keep_only_weights(trial, 1, trial.name, pytest.fail)
    assert evaluate(copy) == evaluate(folder)
    next(trial.glob("weights-*.pt")).unlink()
    done = care("evaluate", trial.name, cwd=copy, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"To train it again: care store delete {trial.name}, then" in done.stderr


def test_the_network_of_an_earlier_epoch_is_not_measured_as_the_finished_trials(
    folder: Path,
) -> None:
    care("train", "experiment.yaml", "training.epochs=2", "--store", "other", cwd=folder)
    (trial,) = (folder / "other" / "trials").iterdir()
    (trial / max(path.name for path in trial.glob("checkpoint-*.pt"))).write_bytes(b"cut")
    done = care("evaluate", trial.name, "--store", "other", cwd=folder, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the newest one is of epoch 1 of 2" in done.stderr
    status = trial / "status.json"
    status.write_text(status.read_text().replace('"finished"', '"paused"'))
    done = care("evaluate", trial.name, "--store", "other", cwd=folder)
    assert "this is the network after 1 of 2 epochs" in done.stderr
    assert "head/gamma" in done.stdout


def test_any_encoder_is_measured_on_an_experiments_data(folder: Path, tmp_path: Path) -> None:
    care("export", trial_in(folder).name, "--to", tmp_path / "encoder", cwd=folder)
    before = contents(folder)
    arguments = ("evaluate", "--encoder", tmp_path / "encoder", "experiment.yaml")
    found = json.loads(care(*arguments, "--no-store", "--json", cwd=folder).stdout)
    recorded = json.loads((trial_in(folder) / "evaluation.json").read_text())
    assert found["measures"] == recorded
    assert found["encoder"] == f"trial {trial_in(folder).name[:8]}, small, at 16 px"
    assert (found["data"]["name"], found["reference"]) == ("digits", None)
    for wrong, part in [
        ((*arguments, "training.epochs=3"), "nothing is trained"),
        (("evaluate", trial_in(folder).name, "--side", "8"), "--encoder ENCODER"),
        (("evaluate", trial_in(folder).name, "--no-store"), "--encoder ENCODER"),
        (("evaluate", "--encoder", tmp_path / "encoder", "experiment.yml"), "'experiment.yaml'"),
    ]:
        done = care(*wrong, cwd=folder, check=False)
        assert (done.returncode, done.stdout) == (2, ""), wrong
        assert part in done.stderr
    assert contents(folder) == before


def test_any_encoders_measures_are_stored_and_the_second_time_read(
    folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    before = contents(copy / "runs" / "trials")
    arguments = ("evaluate", "--encoder", trial_in(copy).name[:6], "sweep.yaml")
    first = care(*arguments, "--json", cwd=copy)
    assert "is a copy of the store" in first.stderr
    found = json.loads(first.stdout)
    path = copy / "runs" / "references" / found["reference"]
    assert json.loads((path / "evaluation.json").read_text()) == found["measures"]
    kept = contents(copy / "runs")
    second = care(*arguments, "--json", cwd=copy)
    assert second.stdout == first.stdout
    assert "and not again" in second.stderr
    assert contents(copy / "runs") == kept
    shown = care("show", found["reference"][:6], cwd=copy).stdout
    assert f"trial {trial_in(copy).name[:8]}, small" in shown
    assert f"{found['measures']['head/gamma']:.4g}" in shown
    (path / "evaluation.json").write_text("{}")
    assert "evaluation.json was changed" in care("show", path.name, cwd=copy).stdout
    third = care(*arguments, "--json", cwd=copy)
    assert json.loads(third.stdout)["measures"] == found["measures"]
    assert "the encoder is measured again" in third.stderr
    assert len(list((copy / "runs" / "archive").iterdir())) == 1
    care("store", "delete", path.name[:6], "--yes", cwd=copy)
    assert not path.exists()
    assert contents(copy / "runs" / "trials") == before
