"""What happens to a tracking server, and the projection that is exact after each of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from care.errors import CareError
from sweeps.store import Store
from sweeps.tracking.sweep_sync import sync_store
from tests.helpers.declaring import declare
from tests.helpers.processes import CARE, lines_in, start_care, wait_for
from tests.helpers.reviewing import start_sweep
from tests.helpers.tracking_server import TrackingServer

Exact = Callable[[Path], None]


def weights(count: int) -> list[float]:
    return [number / 1000 for number in range(count)]


def test_postgres_restarts_in_the_middle_of_a_sweep(
    writer: TrackingServer, tmp_path: Path, assert_exact: Exact
) -> None:
    declare(tmp_path, seeds=1)
    sweep = start_care("sweep", "run", "sweep.yaml", "--no-report", cwd=tmp_path)
    trials = tmp_path / "runs" / "trials"
    wait_for(lambda: any(lines_in(log) for log in trials.glob("*/metrics.jsonl")), 600)
    writer.call("down", "database")
    writer.call("up", "database")
    output, _ = sweep.communicate(timeout=900)
    assert sweep.returncode == 0, output
    sync_store(Store(tmp_path / "runs"), writer.uri)  # what did not get through by the sweep's end
    assert_exact(tmp_path / "runs")


def fill_tables(folder: Path, uri: str) -> None:
    """Write trials until the free pages of the database's tables are used."""
    for seeds in range(1, 50):
        store, _ = start_sweep(folder, weights(10), seeds)
        sync_store(store, uri)


def test_the_disk_of_the_database_is_full_for_a_while(
    writer: TrackingServer, tmp_path: Path, assert_exact: Exact
) -> None:
    disk = writer.state / "postgres"
    filler = disk / "filler"
    with filler.open("wb") as file:
        space = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize)
    try:
        with pytest.raises(CareError, match="MLflow cannot be written"):
            fill_tables(tmp_path, writer.uri)
    finally:
        filler.unlink()
    writer.call("up")
    store = Store(tmp_path / "runs")
    sync_store(store, writer.uri)
    assert_exact(store.root)


def test_two_drivers_write_two_hundred_trials_at_once(
    writer: TrackingServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, assert_exact: Exact
) -> None:
    drivers = []
    for user in ("writer", "other"):
        (tmp_path / user).mkdir()
        start_sweep(tmp_path / user, weights(100), 1)
        environment = {**os.environ, **writer.client(user)}
        command = [*CARE, "track", "sync"]
        drivers.append(subprocess.Popen(command, cwd=tmp_path / user, env=environment))
    try:
        assert [driver.wait(900) for driver in drivers] == [0, 0]
    finally:
        for driver in drivers:
            driver.kill()
    for user in ("writer", "other"):
        assert_exact(tmp_path / user / "runs")


def damage(backup: Path, folder: Path) -> dict[str, Path]:
    """Damaged copies of a backup, by what is wrong with them."""
    content = backup.read_bytes()
    middle = len(content) // 2
    copies = {
        "cut": content[:middle],
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "empty": b"",
        "other": b"no archive at all",
    }
    for name, changed in copies.items():
        (folder / name).write_bytes(changed)
    return {name: folder / name for name in copies} | {"link": with_a_link(backup, folder / "link")}


def with_a_link(backup: Path, copy: Path) -> Path:
    """A copy with a link out of the artifacts, and a list that is longer than a pipe holds."""
    with tarfile.open(backup) as source, tarfile.open(copy, "w:gz") as target:
        for member in source:
            target.addfile(member, source.extractfile(member) if member.isfile() else None)
        link = tarfile.TarInfo("artifacts/0/out")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        target.addfile(link)
        for number in range(2000):
            target.addfile(tarfile.TarInfo(f"artifacts/0/{'long' * 20}{number}"))
    return copy


def test_a_backup_is_made_while_trials_write_and_restored(
    writer: TrackingServer, tmp_path: Path, assert_exact: Exact
) -> None:
    roots = [tmp_path / name for name in ("before", "during")]
    for root in roots:
        root.mkdir()
    before, _ = start_sweep(roots[0], weights(2), 1)
    sync_store(before, writer.uri)
    during, _ = start_sweep(roots[1], weights(20), 1)
    driver = threading.Thread(target=sync_store, args=(during, writer.uri))
    driver.start()
    writer.call("backup")
    driver.join()
    backup = max((writer.state / "backups").glob("*.tar.gz"))
    assert backup.stat().st_mode & 0o777 == 0o600

    writer.call("user", "add", "later", password="added-later-1")
    client = MlflowClient(writer.uri)
    experiment = client.get_experiment_by_name("care")
    assert experiment
    query = f"tags.`care.store` = '{before.prepare()}'"
    for run in client.search_runs([experiment.experiment_id], query):
        client.delete_run(run.info.run_id)
    for reason, copy in damage(backup, tmp_path).items():
        assert "nothing was changed" in writer.refuse("restore", copy), reason
    assert "later" in writer.call("user", "list").stdout

    writer.call("restore", backup)
    assert_exact(before.root)
    assert "later" not in writer.call("user", "list").stdout
    sync_store(during, writer.uri)
    assert_exact(during.root)


@pytest.fixture
def backup_disk(server: TrackingServer) -> Iterator[Path]:
    """A disk of 300 kB for backups, as the settings name it."""
    disk = server.folder / "backup disk"
    disk.mkdir()
    before = (server.state / "server.env").read_text()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "backups", disk], check=True)
    server.set("BACKUPS", str(disk))
    yield disk
    (server.state / "server.env").write_text(before)
    subprocess.run(["umount", disk], check=True)


def test_the_disk_of_the_backups_is_full(server: TrackingServer, backup_disk: Path) -> None:
    old = backup_disk / "care-tracking-20260101T020000Z.tar.gz"
    old.write_bytes(b"an older one")
    assert "no backup was written" in server.refuse("backup")
    assert [path.name for path in backup_disk.iterdir()] == [old.name]
    assert old.read_bytes() == b"an older one"
    server.set("BACKUPS", f"{backup_disk}/not mounted")
    assert "no such folder" in server.refuse("backup")


def test_the_newest_backups_are_kept_and_nothing_else_is_removed(server: TrackingServer) -> None:
    folder = server.folder / "many backups"
    folder.mkdir()
    days = [folder / f"care-tracking-202601{day:02d}T020000Z.tar.gz" for day in (9, 10, 11)]
    others = [folder / "care-tracking-thesis.tar.gz", folder / "notes.txt"]
    for path in (*days, *others):
        path.touch()
    before = (server.state / "server.env").read_text()
    server.set("BACKUPS", str(folder))
    server.set("KEEP_BACKUPS", "2")
    try:
        server.call("backup")
    finally:
        (server.state / "server.env").write_text(before)
    left = {path.name for path in folder.iterdir()}
    assert len(left) == 4
    assert left > {days[-1].name, *(path.name for path in others)}


def test_a_killed_restore_has_changed_everything_or_nothing(writer: TrackingServer) -> None:
    writer.call("backup")
    backup = max((writer.state / "backups").glob("*.tar.gz"), key=os.path.getmtime)
    writer.call("user", "add", "later", password="added-later-1")
    MlflowClient(writer.uri).create_experiment("later")

    def is_loading() -> bool:
        names = writer.sql("select datname from pg_database")
        return "mlflow_new" in names

    moments = {
        "unpacking": ((writer.state / "restore.part").exists, True),
        "loading": (is_loading, True),
        "exchanging": ((writer.state / "swap").exists, False),
    }
    for moment, (reached, kept) in moments.items():
        restore = writer.start("restore", str(backup), "--discard")
        while not reached() and restore.poll() is None:
            pass
        os.killpg(restore.pid, signal.SIGKILL)
        restore.wait()
        writer.call("up")
        assert ("later" in writer.call("user", "list").stdout) == kept, moment
        found = MlflowClient(writer.uri).get_experiment_by_name("later")
        assert (found is not None) == kept, moment


def test_a_user_without_root_has_a_server(tmp_path: Path) -> None:
    server = TrackingServer()
    shutil.chown(server.folder, "nobody")
    # The Python of this test may lie where only root reads; that right alone is given.
    alone = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups")
    beneath = (*alone, "--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search", "--")
    try:
        server.call("init", "--port", str(server.port), beneath=beneath)
        server.set("WORKERS", "1")
        shutil.chown(server.state / "server.env", "nobody")
        server.call("up", beneath=beneath)
        password = "a-fine-password-1"
        server.call("user", "add", "ada", password=password, beneath=beneath)
        status, _ = server.send(
            "GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", ("ada", password)
        )
        assert status == 200
        server.call("backup", beneath=beneath)
        server.call("down", beneath=beneath)
        assert not server.processes()
    finally:
        server.call("down", check=False, beneath=beneath)
        server.remove()


_OLDER = """
import sys
from alembic import command
from sqlalchemy import MetaData, create_engine, inspect, text
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base

present = create_engine("postgresql+psycopg2://care@/mlflow")
older = create_engine("postgresql+psycopg2://care@/older")
Base.metadata.create_all(older)
config = _get_alembic_config("postgresql+psycopg2://care@/older")
with older.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, sys.argv[1])
tables, now = MetaData(), MetaData()
tables.reflect(older)
now.reflect(present)
with present.connect() as source, older.begin() as target:
    for table in reversed(tables.sorted_tables):  # the migrations' own rows
        if table.name != "alembic_version":
            target.execute(table.delete())
    for table in tables.sorted_tables:
        if table.name == "alembic_version" or table.name not in now.tables:
            continue
        names = [column.name for column in table.columns if column.name in now.tables[table.name].c]
        columns = [now.tables[table.name].c[name] for name in names]
        rows = [dict(row._mapping) for row in source.execute(now.tables[table.name].select().with_only_columns(*columns))]
        if rows:
            target.execute(table.insert(), rows)
    target.execute(text("select setval('experiments_experiment_id_seq', (select max(experiment_id) from experiments))"))
"""


def make_older(server: TrackingServer, revision: str) -> None:
    """Replace the runs' database by one with their rows in the schema of an older MLflow."""
    server.sql("create database older")
    server.python(_OLDER, revision)
    server.sql("drop database mlflow")
    server.sql("alter database older rename to mlflow")
    server.sql("comment on database mlflow is '3.16.0'")


def test_a_killed_server_of_an_older_mlflow_is_upgraded(
    writer: TrackingServer, tmp_path: Path, assert_exact: Exact
) -> None:
    store, _ = start_sweep(tmp_path, weights(3), 1)
    sync_store(store, writer.uri)
    for service in ("mlflow", "proxy"):
        os.kill(writer.leader(service), signal.SIGKILL)
    assert writer.processes()  # their children live on
    writer.call("down")
    assert not writer.processes()

    writer.call("up", "database")
    make_older(writer, "17e22815139b")
    assert "run '" in (refused := writer.refuse("up")), refused
    assert "upgrade'" in refused
    assert "MLflow 3.16.0" in refused
    writer.call("upgrade")
    both = [writer.start("up"), writer.start("up")]
    assert [one.wait(600) for one in both] == [0, 0]
    assert_exact(store.root)
    sync_store(store, writer.uri)
    assert_exact(store.root)
