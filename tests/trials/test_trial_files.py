"""The files of a trial for a report: each read once, while a new reader sees what has changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from care.config import TrialConfig
from care.system.files import DamagedFileError, checksum
from care.trials.condition import examine
from care.trials.folder import TrialFolder
from care.trials.state import State
from care.trials.trial_files import StoreFiles, TrialFiles
from sweeps.store import Store
from tests.helpers.declaring import fabricate, load

NOTE = np.array(["few samples"], np.str_)


@pytest.fixture
def config(tmp_path: Path) -> TrialConfig:
    sweep = load(tmp_path)
    return next(iter(sweep.trials(next(iter(sweep.points())))))


@pytest.fixture
def folder(tmp_path: Path, config: TrialConfig) -> TrialFolder:
    epochs = config.training.epochs
    return fabricate(Store(tmp_path / "runs"), config, State.FINISHED, epochs)


def finish(folder: TrialFolder, config: TrialConfig) -> None:
    """Write a status with the checksums of the files as they are."""
    folder.write_status(State.FINISHED, config.training.epochs, config.training.epochs)


def test_a_reader_keeps_what_it_read_and_a_new_one_sees_the_change(folder: TrialFolder) -> None:
    store = StoreFiles(folder.path.parent, kept=True)
    first = store.trial(folder.trial_id)
    assert first.read_evaluation() == {"head/gamma": 0.5}
    folder.write_evaluation({"head/gamma": 0.25})
    assert store.trial(folder.trial_id).read_evaluation() == {"head/gamma": 0.5}
    assert TrialFiles(folder.path).read_evaluation() == {"head/gamma": 0.25}
    assert StoreFiles(folder.path.parent).trial(folder.trial_id).read_evaluation() == {
        "head/gamma": 0.25
    }


def test_a_reader_gives_what_the_folder_gives(folder: TrialFolder) -> None:
    files = TrialFiles(folder.path)
    for _ in range(2):
        assert files.read_trial() == folder.read_trial()
        assert files.read_status() == folder.read_status()
        assert files.read_provenance() == folder.read_provenance()
        assert files.read_metrics() == folder.read_metrics()
        assert files.read_timings() == folder.read_timings()
        assert files.read_starts() == folder.read_starts() == []
    assert files.checksum("metrics.jsonl") == checksum((folder.path / "metrics.jsonl").read_bytes())
    assert files.digest("absent.json") is None


def test_a_dropped_file_is_read_again(folder: TrialFolder) -> None:
    files = TrialFiles(folder.path)
    metrics, status = files.read_metrics(), files.read_status()
    files.keep_only("status.json")
    assert files.read_metrics() == metrics
    assert files.read_status() is status


def test_damage_is_reported_each_time(folder: TrialFolder) -> None:
    (folder.path / "metrics.jsonl").write_text("no JSON\n")
    (folder.path / "evaluation.json").unlink()
    (folder.path / "evaluation.json").mkdir()
    files = TrialFiles(folder.path)
    for _ in range(2):
        with pytest.raises(DamagedFileError, match="line 1 is not JSON"):
            files.read_metrics()
        with pytest.raises(DamagedFileError, match="is a folder"):
            files.read_evaluation()
        with pytest.raises(DamagedFileError, match="is a folder"):
            files.digest("evaluation.json")


@pytest.mark.parametrize("sealed", [True, False])
def test_arrays_are_those_of_the_file(
    folder: TrialFolder, config: TrialConfig, sealed: bool
) -> None:
    folder.write_details({"notes": NOTE, "head/wahba": np.arange(3) / 7})
    if sealed:
        finish(folder, config)
    else:
        (folder.path / "status.json").unlink()
    found = TrialFiles(folder.path).read_details()
    assert len(found) == 2
    assert set(found) == {"notes", "head/wahba"}
    assert found["notes"].tolist() == NOTE.tolist()
    assert found["head/wahba"].tolist() == (np.arange(3) / 7).tolist()
    assert found.get("cosine/edges") is None


def test_arrays_that_do_not_match_the_checksum_are_decoded_at_once(folder: TrialFolder) -> None:
    file = folder.path / "details.npz"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=r"details\.npz: is damaged"):
        TrialFiles(folder.path).read_details()


def test_a_trial_that_changes_while_a_report_is_written_is_not_remembered(
    folder: TrialFolder, config: TrialConfig
) -> None:
    files = TrialFiles(folder.path)
    assert not examine(files, config).damage
    (folder.path / "metrics.jsonl").write_bytes(b"")  # no longer that of the checksum
    assert not examine(files, config).damage  # the report has the files as they were
    assert "metrics.jsonl" in examine(folder, config).damage
