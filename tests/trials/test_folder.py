"""A trial's folder: written once, continued, rewound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from care.config import TrialConfig
from care.errors import CareError
from care.system.files import pack_lines, write_json
from care.trials.folder import FORMAT, TrialFolder
from care.trials.identity import group_id, trial_id
from care.trials.records import ErrorRecord, TimingRecord
from care.trials.state import State
from tests.helpers.processes import lines_in


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path, tiny_config: TrialConfig) -> TrialFolder:
    folder = TrialFolder(tmp_path / trial_id(tiny_config))
    folder.create(tiny_config)
    return folder


def log(folder: TrialFolder, timings: int, metrics: int) -> None:
    for epoch in range(1, max(timings, metrics) + 1):
        if epoch <= timings:
            with (folder.path / "timings.jsonl").open("a") as file:
                rest = '"seconds": 1, "images_per_second": 9, "finished_at": 1'
                file.write(f'{{"epoch": {epoch}, {rest}}}\n')
        if epoch <= metrics:
            with (folder.path / "metrics.jsonl").open("a") as file:
                file.write(f'{{"epoch": {epoch}}}\n')


def test_a_trial_says_what_it_is(folder: TrialFolder, tiny_config: TrialConfig) -> None:
    trial = folder.read_trial()
    assert trial
    assert folder.trial_id == trial.trial_id == trial_id(tiny_config)
    assert trial.group_id == group_id(tiny_config)
    assert trial.format == FORMAT
    assert TrialConfig.model_validate_json(TrialConfig(**trial.config).model_dump_json()) == (
        tiny_config
    )


def test_creating_again_changes_nothing(folder: TrialFolder, tiny_config: TrialConfig) -> None:
    before = contents(folder.path)
    folder.create(tiny_config)
    assert contents(folder.path) == before


def test_a_newer_format_is_refused(folder: TrialFolder, tiny_config: TrialConfig) -> None:
    trial = folder.read_trial()
    assert trial
    write_json(folder.path / "trial.json", {**trial.model_dump(), "format": FORMAT + 1})
    before = contents(folder.path)
    with pytest.raises(CareError, match=rf"format {FORMAT + 1} was written by a newer version"):
        folder.create(tiny_config)
    assert contents(folder.path) == before


def test_before_the_first_start_there_is_nothing(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "none")
    assert folder.read_trial() is None
    assert folder.read_status() is None
    assert folder.read_provenance() is None
    assert folder.read_evaluation() is None
    assert folder.read_metrics() == []
    assert folder.read_timings() == []
    folder.rewind(0)
    assert not folder.path.exists()


def test_status_is_replaced(folder: TrialFolder) -> None:
    folder.write_status(State.RUNNING, 0, 3)
    error = ErrorRecord(kind="diverged", message="m", traceback="t")
    folder.write_status(State.FAILED, 2, 3, error)
    status = folder.read_status()
    assert status is not None
    assert status.updated.endswith("+00:00")
    assert (status.state, status.epoch, status.epochs) == ("failed", 2, 3)
    assert status.error == error


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_rewinding_forgets_later_epochs(folder: TrialFolder, epoch: int) -> None:
    log(folder, timings=3, metrics=2)
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train/lo')
    folder.rewind(epoch)
    assert [line["epoch"] for line in folder.read_metrics()] == list(range(1, epoch + 1))
    assert [line.epoch for line in folder.read_timings()] == list(range(1, epoch + 1))
    whole = b"".join(b'{"epoch": %d}\n' % n for n in range(1, epoch + 1))
    assert (folder.path / "metrics.jsonl").read_bytes() == whole


def test_rewinding_to_the_end_forgets_nothing(folder: TrialFolder) -> None:
    log(folder, timings=2, metrics=2)
    before = {name: content for name, (content, _) in contents(folder.path).items()}
    folder.rewind(2)
    assert {name: content for name, (content, _) in contents(folder.path).items()} == before


def test_what_is_appended_to_a_log_from_before_rewinding_is_lost(folder: TrialFolder) -> None:
    """By a process that opened it, was suspended, and lost its claim meanwhile."""
    log(folder, timings=2, metrics=2)
    with (folder.path / "metrics.jsonl").open("a") as file:
        folder.rewind(2)
        file.write('{"epoch": 3}\n')
    assert [line["epoch"] for line in folder.read_metrics()] == [1, 2]


def test_epochs_that_two_processes_of_an_earlier_version_logged_count_once(
    folder: TrialFolder,
) -> None:
    epochs = [1, 2, 3, 2, 4, 3]
    metrics = [{"epoch": epoch, "train/loss": 0.5} for epoch in epochs]
    log = folder.path / "metrics.jsonl"
    log.write_bytes(pack_lines(log, metrics))
    rest = {"images_per_second": 1.0, "finished_at": 1.0}
    timings = [
        {"epoch": epoch, "seconds": float(place), **rest} for place, epoch in enumerate(epochs)
    ]
    log = folder.path / "timings.jsonl"
    log.write_bytes(pack_lines(log, timings))
    assert [line["epoch"] for line in folder.read_metrics()] == [1, 2, 3, 4]
    assert [line.epoch for line in folder.read_timings()] == [1, 2, 3, 4]
    folder.rewind(3)
    assert lines_in(folder.path / "metrics.jsonl") == lines_in(folder.path / "timings.jsonl") == 3


def test_an_epoch_stands_once_its_metrics_do(
    folder: TrialFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metrics are written last: no reader finds an epoch without its timing."""
    written = []
    monkeypatch.setattr("care.system.files.append_line", lambda path, _: written.append(path.name))
    timing = TimingRecord(epoch=1, seconds=1.0, images_per_second=1.0, finished_at=1.0)
    folder.append_epoch({"epoch": 1}, timing)
    assert written == ["timings.jsonl", "metrics.jsonl"]


def test_details_are_read_as_they_were_written(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    assert folder.read_details() == {}
    details: dict[str, NDArray[Any]] = {
        "head/wahba": np.arange(3) / 7,
        "head/retrieval": np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
        "notes": np.array(["σ is the blur's", "another"], np.str_),
        "none": np.array([], np.str_),
    }
    folder.write_details(details)
    found = folder.read_details()
    assert set(found) == set(details)
    for name, values in details.items():
        assert np.array_equal(found[name], values), name
        assert found[name].dtype == values.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["details.npz"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_damaged_details_are_an_error_that_names_the_file(tmp_path: Path, damage: str) -> None:
    folder, file = TrialFolder(tmp_path), tmp_path / "details.npz"
    folder.write_details({"a": np.arange(1000)})
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 255
    damaged = {"cut": content[:middle], "flipped": content, "empty": bytearray()}
    file.write_bytes(damaged[damage])
    with pytest.raises(CareError, match=r"details\.npz: is damaged"):
        folder.read_details()
