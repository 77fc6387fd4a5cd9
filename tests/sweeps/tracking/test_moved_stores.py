"""The store's own MLflow database: folders of any name, moved, copied and damaged stores."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from care.config import TrialConfig
from care.system.redaction import redact
from care.trials.folder import TrialFolder
from sweeps.process.lock import locked
from sweeps.store import Store
from sweeps.tracking import MlflowSync
from sweeps.tracking.tracking_uri import Destination, destination_of, sqlite_uri
from tests.helpers.tracked import (
    begin,
    copy_database,
    dump,
    finish,
    open_mlflow,
    run_ids,
    seen,
    sync,
)

ODD = "a b%20c?d#e%jé'\"&=;:%(here)s"


@pytest.fixture
def folder(tmp_path: Path, tiny_config: TrialConfig, empty_database: Path) -> TrialFolder:
    """The finished trial of the store in ``runs``."""
    store = tmp_path / "runs"
    copy_database(empty_database, store)
    made = begin(store, tiny_config)
    finish(made)
    return made


def everything(root: Path) -> set[Path]:
    return {path.relative_to(root) for path in root.rglob("*")}


@pytest.mark.parametrize(
    "name",
    ["plain", "a b", "a%20b", "a?b", "a#b", "a%j", "a%25", "%(here)s", "é", "'\"", "a\\b", "a:@b"],
)
def test_the_database_is_where_its_uri_says(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "mlflow.db"
    file.parent.mkdir()
    # What MLflow opens a URI with.
    engine = sqlalchemy.create_engine(sqlite_uri(file))
    with engine.connect() as database:
        database.execute(sqlalchemy.text("create table here (x)"))
    engine.dispose()
    assert everything(tmp_path) == {Path(name), Path(name, "mlflow.db")}
    with closing(sqlite3.connect(file)) as found:
        assert found.execute("select name from sqlite_master").fetchall() == [("here",)]


def test_a_store_in_a_folder_of_an_odd_name(
    tmp_path: Path, tiny_config: TrialConfig, empty_database: Path
) -> None:
    store = tmp_path / ODD
    copy_database(empty_database, store)
    trial = begin(store, tiny_config)
    page = tmp_path / "report.html"
    page.write_text("<p>")
    before = everything(tmp_path)
    sync(store, trial)
    MlflowSync(store).attach("s", [page])
    assert [run["name"] for run in dump(store)] == ["s", "λ=0.1 seed=0"]
    made = {path for path in everything(tmp_path) - before if path.parts[0] != ODD}
    assert made == set()
    assert [path.name for path in (store / "mlflow-artifacts").rglob("*.html")] == ["report.html"]
    client, _ = open_mlflow(store)
    assert [file.path for file in client.list_artifacts(run_ids(store)["s"], "report")] == [
        "report/report.html"
    ]


@pytest.mark.parametrize("uri", ["sqlite:///runs/mlflow.db", "sqlite:////{}/runs/mlflow.db"])
def test_the_own_database_by_its_uri(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "runs"
    assert destination_of(store, uri.format(tmp_path)) == destination_of(store, None)
    assert destination_of(store, None).own


def as_a_new_process() -> None:
    """MLflow remembers where a run's files are; a store moves between processes."""
    _artifact_repos_cache.clear()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host:1/x failed", "http://***@host:1/x failed"),
        ("http://me:sec@ret@host", "http://***@host"),
        ("http://token@host, and postgresql://me:secret@db/x", None),
        ("http://host:1/a@b", "http://host:1/a@b"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str | None) -> None:
    assert redact(text) == (shown or "http://***@host, and postgresql://***@db/x")


def place_of_files(store: Path) -> set[str]:
    client, experiment = open_mlflow(store)
    runs = client.search_runs([experiment])
    return {
        client.get_experiment(experiment).artifact_location,
        *(run.info.artifact_uri.partition(f"/{run.info.run_id}/")[0] for run in runs),
    }


def test_a_moved_store_takes_its_runs_and_files_along(folder: TrialFolder, tmp_path: Path) -> None:
    store, moved = tmp_path / "runs", tmp_path / "moved"
    page = tmp_path / "report.html"
    page.write_text("one")
    sync(store, folder)
    MlflowSync(store).attach("s", [page])
    before, ids = dump(store), run_ids(store)
    store.rename(moved)
    as_a_new_process()
    page.write_text("two")
    sync(moved, TrialFolder(moved / "trials" / folder.trial_id))
    MlflowSync(moved).attach("s", [page])
    assert not store.exists()
    assert run_ids(moved) == ids
    after = dump(moved)
    before[0]["tags"].pop("care.sync"), after[0]["tags"].pop("care.sync")
    assert after == before
    assert place_of_files(moved) == {(moved / "mlflow-artifacts").resolve().as_uri()}
    files = list((moved / "mlflow-artifacts").rglob("report.html"))
    assert [file.read_text() for file in files] == ["two"]


def test_a_copied_store_has_runs_of_its_own(folder: TrialFolder, tmp_path: Path) -> None:
    store, copy = tmp_path / "runs", tmp_path / "copy"
    sync(store, folder)
    page = tmp_path / "report.html"
    page.write_text("one")
    MlflowSync(store).attach("s", [page])
    before = dump(store)
    shutil.copytree(store, copy)
    as_a_new_process()
    page.write_text("two")
    sync(copy, TrialFolder(copy / "trials" / folder.trial_id))
    MlflowSync(copy).attach("s", [page])
    assert len(run_ids(copy)) == len(before) == 2
    uuids = {run["tags"]["care.store"] for run in dump(copy)}
    assert uuids == {Store(copy).prepare()} != {Store(store).prepare()}
    assert place_of_files(copy) == {(copy / "mlflow-artifacts").resolve().as_uri()}
    assert dump(store) == before
    texts = [file.read_text() for file in (store / "mlflow-artifacts").rglob("report.html")]
    assert texts == ["one"]


def test_a_database_of_a_version_without_uuids_is_the_stores(
    folder: TrialFolder, tmp_path: Path
) -> None:
    store = tmp_path / "runs"
    sync(store, folder)
    ids = run_ids(store)
    with closing(sqlite3.connect(store / "mlflow.db")) as database, database:
        for table in ("tags", "experiment_tags"):
            database.execute(f"delete from {table} where key = 'care.store'")
    sync(store, folder)
    assert run_ids(store) == ids


def test_the_database_of_another_store_is_set_aside(
    folder: TrialFolder,
    tmp_path: Path,
    empty_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[str],
) -> None:
    store, other = tmp_path / "runs", tmp_path / "other"
    monkeypatch.setattr("sweeps.tracking.database.create_database", copying(empty_database))
    sync(store, folder)
    other.mkdir()
    shutil.copy(store / "mlflow.db", other)
    MlflowSync(other, None).sync_sweep("mine", "")
    assert "belongs to another store; it was set aside as mlflow.db.damaged-" in log_lines[0]
    assert [run["name"] for run in dump(other, own_only=False)] == ["mine"]


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def zero(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def spoil_the_middle(file: Path) -> None:
    """Pages that a look at the first ones does not show."""
    content = bytearray(file.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    file.write_bytes(content)


def make_folder(file: Path) -> None:
    file.unlink()
    (file / "inside").mkdir(parents=True)


def age(file: Path) -> None:
    """As another version of MLflow made it: another file, which this process has not opened."""
    shutil.copy(file, file.with_name("older"))
    file.with_name("older").replace(file)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("update alembic_version set version_num = '0a8213491aaa'")


DAMAGES = [
    (cut, "is damaged (database disk image is malformed)"),
    (zero, "is damaged (file is not a database)"),
    (spoil_the_middle, "is damaged"),
    (lambda file: file.write_text("garbage\n" * 999), "is damaged (file is not a database)"),
    (lambda file: file.write_bytes(b""), "is no database of MLflow"),
    (make_folder, "is a folder"),
    (age, "was written by another version of MLflow"),
]


def copying(empty: Path) -> Callable[[Path], None]:
    """Makes a database as MLflow does, without the seconds that it takes."""
    return lambda file: None if file.exists() else copy_database(empty, file.parent)


@pytest.mark.parametrize(("spoil", "reason"), DAMAGES)
def test_a_damaged_database_is_set_aside_and_made_again(
    folder: TrialFolder,
    tmp_path: Path,
    empty_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], None],
    reason: str,
    log_lines: list[str],
) -> None:
    store = tmp_path / "runs"
    sync(store, folder)
    before = dump(store)
    spoil(store / "mlflow.db")
    monkeypatch.setattr("sweeps.tracking.database.create_database", copying(empty_database))
    projection = MlflowSync(store, None)
    for _ in range(2):  # what only a write shows is set aside by the next one
        try:
            projection.sync_sweep("s", "what it is")
            projection.sync_trial(seen(folder), "s")
        except Exception:  # noqa: BLE001 - whatever SQLAlchemy makes of it
            continue
    assert dump(store) == before
    assert len(log_lines) == 1
    assert f"mlflow.db {reason}" in log_lines[0]
    assert "; it was set aside as mlflow.db.damaged-" in log_lines[0]
    (kept,) = store.glob("mlflow.db.damaged-*")
    assert kept.name in log_lines[0]


def test_a_database_elsewhere_by_a_link(
    folder: TrialFolder, tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite is slow on some shared folders; the link stays when the file is made again."""
    store = tmp_path / "runs"
    (tmp_path / "disk").mkdir()
    (store / "mlflow.db").rename(tmp_path / "disk" / "mlflow.db")
    (store / "mlflow.db").symlink_to(tmp_path / "disk" / "mlflow.db")
    sync(store, folder)
    zero(tmp_path / "disk" / "mlflow.db")
    monkeypatch.setattr("sweeps.tracking.database.create_database", copying(empty_database))
    sync(store, folder)
    assert (store / "mlflow.db").is_symlink()
    assert len(list((tmp_path / "disk").glob("mlflow.db.damaged-*"))) == 1
    assert len(dump(store)) == 2


def test_a_database_that_goes_while_it_is_written(
    folder: TrialFolder, tmp_path: Path, empty_database: Path
) -> None:
    """Another process of the store set it aside, or a user deleted it."""
    store = tmp_path / "runs"
    projection = MlflowSync(store)
    projection.sync_sweep("s", "what it is")
    projection.sync_trial(seen(folder), "s")
    before = dump(store)
    (store / "mlflow.db").rename(tmp_path / "aside")
    copy_database(empty_database, store)
    projection.sync_sweep("s", "what it is")
    projection.sync_trial(seen(folder), "s")
    assert dump(store) == before


def test_a_lock_that_cannot_be_opened_is_set_aside(tmp_path: Path, log_lines: list[str]) -> None:
    lock = tmp_path / "mlflow.lock"
    (lock / "inside").mkdir(parents=True)
    with locked(lock):
        pass
    lock.write_text("garbage")
    with locked(lock):
        pass
    (kept,) = tmp_path.glob("mlflow.lock.damaged-*")
    assert log_lines == [f"{lock} is a folder; it was set aside as {kept.name}."]
    assert (kept / "inside").is_dir()


def test_an_sqlite_file_that_stores_share(
    folder: TrialFolder, tmp_path: Path, tiny_config: TrialConfig, empty_database: Path
) -> None:
    """Its artifacts belong to no store, so none of them can take them along."""
    shared = tmp_path / "team" / "runs.db"
    shared.parent.mkdir()
    shutil.copy(empty_database, shared)
    uri = f"sqlite:///{shared}"
    second = begin(tmp_path / "second", tiny_config)
    sync(tmp_path / "runs", folder, uri=uri)
    before = dump(tmp_path / "runs", uri)
    sync(tmp_path / "second", second, uri=uri)
    page = tmp_path / "report.html"
    page.write_text("<p>")
    MlflowSync(tmp_path / "second", uri).attach("s", [page])
    assert dump(tmp_path / "runs", uri) == before
    assert len(dump(tmp_path / "second", uri)) == 2
    assert len(list(shared.parent.rglob("mlflow-artifacts/*/artifacts/report/report.html"))) == 1
    own: Destination = destination_of(tmp_path / "second", uri)
    assert not own.own
