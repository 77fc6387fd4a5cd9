"""The run store: its format, its archive, and the logs of its sweeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from care.claim import Claim, holder
from care.config import TrialConfig
from care.errors import CareError
from care.files import DiskError
from care.identity import trial_id
from care.trial_folder import FORMAT
from sweeps.store import Store
from tests.sweeps.declaring import fabricate


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_opening_writes_nothing(store: Store) -> None:
    assert list(store.all_trials()) == []
    assert list(store.all_sweeps()) == []
    assert store.sweep("none").read() is None
    assert store.sweep("none").events() == []
    assert not store.root.exists()


def test_preparing_says_the_format_once(store: Store) -> None:
    store.prepare()
    path = store.root / "store.json"
    assert json.loads(path.read_text()) == {"format": FORMAT}
    before = path.stat().st_mtime_ns
    store.prepare()
    assert path.stat().st_mtime_ns == before


def test_a_newer_format_is_refused(store: Store) -> None:
    store.prepare()
    (store.root / "store.json").write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(CareError, match=rf"format {FORMAT + 1} was written by a newer version"):
        Store(store.root)


def test_a_file_is_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "runs"):
        with pytest.raises(CareError, match=rf"{root}: no store can be here \(Not a directory\)"):
            Store(root)


def test_a_place_where_no_store_can_be_made_is_told(store: Store) -> None:
    store.root.mkdir()
    store.trials.touch()
    with pytest.raises(CareError, match=r"runs: cannot make the store here \(File exists\)"):
        store.prepare()


def test_no_space_is_told(
    store: Store, no_space: Callable[[int], AbstractContextManager[None]]
) -> None:
    with no_space(0), pytest.raises(DiskError, match=r"store\.json: cannot write"):
        store.prepare()
    Store(store.root).prepare()


def test_trials_are_found_by_identity(store: Store, tiny_config: TrialConfig) -> None:
    folder = fabricate(store, tiny_config, "paused", 1)
    (store.trials / "no-trial").mkdir()
    assert list(store.all_trials()) == [folder] == [store.trial(trial_id(tiny_config))]


def test_an_archived_trial_is_out_of_the_way_and_whole(
    store: Store, tiny_config: TrialConfig
) -> None:
    folder = fabricate(store, tiny_config, "finished", 3)
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    target = store.archive(folder.trial_id)
    assert target is not None
    assert target.parent == store.root / "archive"
    assert target.name.startswith(f"{folder.trial_id}-2")
    after = {path.name: path.read_bytes() for path in target.glob("[!c]*")}
    assert after == before
    assert not folder.path.exists()
    assert list(store.all_trials()) == []


def test_a_trial_that_runs_is_not_archived(store: Store, tiny_config: TrialConfig) -> None:
    folder = fabricate(store, tiny_config, "running", 1)
    with Claim.take(folder.path) or pytest.fail("not free"):
        assert store.archive(folder.trial_id) is None
        assert folder.read_status()
    assert store.archive(folder.trial_id)
    assert holder(folder.path) is None


def test_archived_twice_at_once_loses_nothing(store: Store, tiny_config: TrialConfig) -> None:
    for epoch in (1, 2):
        folder = fabricate(store, tiny_config, "paused", epoch)
        assert store.archive(folder.trial_id)
    kept = store.root.glob("archive/*/status.json")
    assert sorted(json.loads(path.read_text())["epoch"] for path in kept) == [1, 2]


def test_a_sweep_remembers_its_declaration_and_decisions(store: Store) -> None:
    store.prepare()
    folder = store.sweep("tiny")
    folder.write({"file": "sweep.yaml"})
    folder.log({"event": "suggest", "number": 0})
    folder.log({"event": "rung", "trial_id": "a", "stopped": True})
    again = next(store.all_sweeps())
    assert again.name == "tiny"
    assert again.read() == {"file": "sweep.yaml"}
    assert [event["event"] for event in again.events()] == ["suggest", "rung"]
    assert again.report == store.root / "sweeps" / "tiny" / "report"
