"""What happens to a tracking server, and the projection that is exact after each of it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
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
    return {name: folder / name for name in copies}


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
    environment = {**os.environ, "PGHOST": str(server.state / "run"), "PGUSER": "care"}

    def sql(command: str) -> None:
        subprocess.run(["psql", "-q", "-d", "postgres", "-c", command], env=environment, check=True)

    sql("create database older")
    server.python(_OLDER, revision)
    sql("drop database mlflow")
    sql("alter database older rename to mlflow")
    sql("comment on database mlflow is '3.16.0'")


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
