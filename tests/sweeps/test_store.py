"""The run store: its format, its archive, and the logs of its sweeps."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from care.config import TrialConfig
from care.errors import CareError
from care.system.claim import Claim, holder
from care.system.files import DiskError
from care.trials.folder import FORMAT
from care.trials.identity import trial_id
from care.trials.records import SweepRecord
from care.trials.state import State
from sweeps.store import Store
from tests.helpers.declaring import fabricate


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_opening_writes_nothing(store: Store) -> None:
    assert list(store.all_trials()) == []
    assert list(store.all_sweeps()) == []
    assert store.sweep("none").read() is None
    assert store.sweep("none").events() == []
    assert not store.root.exists()


def test_preparing_writes_format_and_identity_once(store: Store) -> None:
    uuid = store.prepare()
    path = store.root / "store.json"
    place = store.root.resolve().as_uri()
    written = {"format": FORMAT, "uuid": uuid, "place": place, "access": "private"}
    assert json.loads(path.read_text()) == written
    before = path.stat().st_mtime_ns
    assert Store(store.root).prepare() == uuid
    assert path.stat().st_mtime_ns == before


def test_an_old_store_gets_a_uuid_at_its_next_write(store: Store) -> None:
    store.root.mkdir()
    (store.root / "store.json").write_text(json.dumps({"format": FORMAT}))
    assert store.prepare() == store.prepare() != Store(store.root.with_name("other")).prepare()


@pytest.mark.parametrize("content", [None, {"format": FORMAT}])
def test_processes_that_prepare_at_once_agree_on_the_uuid(
    store: Store, content: dict[str, int] | None
) -> None:
    if content:
        store.root.mkdir()
        (store.root / "store.json").write_text(json.dumps(content))
    command = "from sweeps.store import Store; from pathlib import Path; import sys;"
    command += "input(); print(Store(Path(sys.argv[1])).prepare())"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", command, str(store.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    uuids = {process.communicate(timeout=60)[0] for process in processes}
    assert uuids == {f"{store.prepare()}\n"}


def test_a_moved_store_keeps_its_uuid(store: Store, log_lines: list[str]) -> None:
    uuid = store.prepare()
    moved = Store(store.root.rename(store.root.with_name("moved %20?#%j 'ü")))
    assert moved.prepare() == uuid
    link = store.root.with_name("link")
    link.symlink_to(moved.root)
    assert Store(link).prepare() == uuid
    assert log_lines == []


def test_a_copy_gets_a_uuid_of_its_own_and_says_so_once(store: Store, log_lines: list[str]) -> None:
    uuid = store.prepare()
    copy = Store(shutil.copytree(store.root, store.root.with_name("copy")))
    own = copy.prepare()
    assert own != uuid
    assert copy.prepare() == own
    assert store.prepare() == uuid
    assert len(log_lines) == 1
    assert (
        f"copy is a copy of the store in {store.root.resolve()}, which still exists" in log_lines[0]
    )


@pytest.mark.parametrize("place", ["", "nonsense", "file://[", "file:///a%00b", "file:///%ff/x"])
def test_a_place_that_is_no_path_is_written_anew(store: Store, place: str) -> None:
    store.root.mkdir()
    content = {"format": FORMAT, "uuid": "u", "place": place}
    (store.root / "store.json").write_text(json.dumps(content))
    assert store.prepare() == "u"
    known = json.loads((store.root / "store.json").read_text())
    assert known["place"] == store.root.resolve().as_uri()


def test_a_place_that_cannot_be_read_counts_as_a_living_store(store: Store) -> None:
    """Runs that stand twice do no harm; runs that two stores write do."""
    uuid = store.prepare()
    copy = Store(shutil.copytree(store.root, store.root.with_name("copy")))
    (store.root / "store.json").write_text("damaged")
    assert copy.prepare() != uuid


def test_a_backup_in_place_of_the_original_is_the_store(store: Store) -> None:
    uuid = store.prepare()
    backup = shutil.copytree(store.root, store.root.with_name("backup"))
    shutil.rmtree(store.root)
    assert Store(backup).prepare() == uuid
    backup.rename(store.root)
    assert store.prepare() == uuid


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


def test_a_path_where_no_store_can_be_made_is_named(store: Store) -> None:
    store.root.mkdir()
    store.trials.touch()
    with pytest.raises(CareError, match=r"runs: cannot make the store here \(File exists\)"):
        store.prepare()


def test_a_full_disk_is_reported(
    store: Store, no_space: Callable[[int], AbstractContextManager[None]]
) -> None:
    with no_space(0), pytest.raises(DiskError, match=r"store\.json: cannot write"):
        store.prepare()
    Store(store.root).prepare()


def test_trials_are_found_by_identity(store: Store, tiny_config: TrialConfig) -> None:
    folder = fabricate(store, tiny_config, State.PAUSED, 1)
    (store.trials / "no-trial").mkdir()
    assert list(store.all_trials()) == [folder] == [store.trial(trial_id(tiny_config))]


def test_an_archived_trial_is_out_of_the_way_and_whole(
    store: Store, tiny_config: TrialConfig
) -> None:
    folder = fabricate(store, tiny_config, State.FINISHED, 3)
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
    folder = fabricate(store, tiny_config, State.RUNNING, 1)
    with Claim.take(folder.path) or pytest.fail("not free"):
        assert store.archive(folder.trial_id) is None
        assert folder.read_status()
    assert store.archive(folder.trial_id)
    assert holder(folder.path) is None


def test_archived_twice_at_once_loses_nothing(store: Store, tiny_config: TrialConfig) -> None:
    for epoch in (1, 2):
        folder = fabricate(store, tiny_config, State.PAUSED, epoch)
        assert store.archive(folder.trial_id)
    kept = store.root.glob("archive/*/status.json")
    assert sorted(json.loads(path.read_text())["epoch"] for path in kept) == [1, 2]


def test_a_sweep_remembers_its_declaration_and_decisions(store: Store) -> None:
    store.prepare()
    folder = store.sweep("tiny")
    declared = SweepRecord(spec={}, base={}, file="sweep.yaml", overrides=["seeds=1"])
    folder.write(declared)
    folder.log({"event": "suggest", "number": 0, "point": {}})
    folder.log({"event": "rung", "trial_id": "a", "stopped": True})
    again = next(store.all_sweeps())
    assert again.name == "tiny"
    created = again.declaration().created
    assert datetime.fromisoformat(created) <= datetime.now(UTC)
    assert again.read() == declared.model_copy(update={"created": created})
    folder.write(declared.model_copy(update={"file": "other.yaml"}))
    assert folder.read() == declared.model_copy(update={"file": "other.yaml", "created": created})
    assert [event["event"] for event in again.events()] == ["suggest", "rung"]
    assert again.report == store.root / "sweeps" / "tiny" / "report"
