"""MLflow's client, and the store's SQLite file: created, moved, and set aside if damaged."""

from __future__ import annotations

import logging
import os
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

from care.errors import CareError
from care.system.permissions import adopt, make_folder
from sweeps.process.imports import large_imports
from sweeps.process.lock import refuse_foreign, set_aside
from sweeps.store_identity import StoreIdentity
from sweeps.tracking.tracking_uri import Destination, sqlite_uri

EXPERIMENT = "care"
STORE_TAG = "care.store"
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    # Fail soon if the server is down; sweeps/tracking/background.py retries.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "GIT_PYTHON_REFRESH": "quiet",
    # These lines contain the password of the server's URI.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_LOGGERS = ("alembic", "mlflow", "urllib3")
_ADVICE = "'care track sync' writes all runs again."
_LOCKED_SECONDS = 30.0
# (table, column) in which MLflow stores paths of files.
_PATH_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
# The file behind each URI that MLflow opened in this process: MLflow caches connections by URI.
_opened: dict[str, tuple[int, int]] = {}
_NO_FILE = (-1, -1)


def quiet_environment() -> None:
    """Set MLflow's environment variables and log levels; the user's values take precedence."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR if name == "urllib3" else logging.WARNING)


def experiment_name(destination: Destination) -> str:
    """Return the experiment's name; on a shared destination, ``MLFLOW_EXPERIMENT_NAME`` sets it."""
    if destination.own:
        return EXPERIMENT
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def connect(destination: Destination, identity: StoreIdentity) -> tuple[Any, str]:
    """Connect to MLflow and find the experiment, which is created if it is missing.

    The caller holds the destination's lock.

    Args:
        destination: The server or file.
        identity: The store's.

    Returns:
        MLflow's client and the experiment's id.

    Raises:
        CareError: The experiment is deleted in MLflow, or the file belongs to another user.
        Exception: Any error of MLflow.
    """
    quiet_environment()
    with large_imports():
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

    if destination.own:
        _prepare_own(destination, identity)
    destination = _with_fresh_uri(destination)
    name = experiment_name(destination)
    try:
        client = MlflowClient(tracking_uri=destination.uri)
        experiment = client.get_experiment_by_name(name)
    except MlflowException as error:
        if not destination.own or "out-of-date database schema" not in str(error):
            raise
        _set_database_aside(destination, "was written by another version of MLflow")
        return connect(destination, identity)
    if experiment is not None:
        if experiment.lifecycle_stage == "deleted":
            raise CareError(f"its experiment '{name}' is deleted; restore it there to continue")
        return client, str(experiment.experiment_id)
    # Without this tag the page opens on traces of language models instead of runs.
    tags = {"mlflow.experimentKind": "custom_model_development"}
    if destination.own:
        tags[STORE_TAG] = identity.uuid
    new = client.create_experiment(name, artifact_location=destination.artifacts, tags=tags)
    return client, str(new)


def find_experiment(destination: Destination) -> tuple[Any, str]:
    """Find the experiment on a server. Writes nothing.

    Returns:
        MLflow's client and the experiment's id, empty if there is none.
    """
    quiet_environment()
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=destination.uri)
    experiment = client.get_experiment_by_name(experiment_name(destination))
    return client, "" if experiment is None else str(experiment.experiment_id)


def file_id(file: Path | None) -> tuple[int, int] | None:
    """Identify a file by device and inode, which a file of equal name does not share."""
    try:
        stat = file.stat() if file else None
    except FileNotFoundError:
        return None
    return (stat.st_dev, stat.st_ino) if stat else None


def try_tracking(uri: str) -> None:
    """Query MLflow at ``uri`` to see that it answers; writes no run.

    Raises:
        Exception: Any error of MLflow.
    """
    quiet_environment()
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=uri).search_experiments(max_results=1)


def find_damage(file: Path, *, thorough: bool = False) -> str:
    """Find the damage that keeps MLflow from using an SQLite file.

    Args:
        file: The path, which may be a folder.
        thorough: Whether to read the whole file, which takes seconds for ten thousand trials.

    Returns:
        The damage, as the end of a sentence; empty if there is none.

    Raises:
        CareError: The file belongs to another user and cannot be written.
    """
    if file.is_dir():
        return "is a folder"
    if not os.access(file, os.R_OK | os.W_OK):
        refuse_foreign(file)
        return "cannot be read and written"
    try:
        with closing(sqlite3.connect(file, timeout=_LOCKED_SECONDS)) as database:
            database.execute("select version_num from alembic_version").fetchone()
            database.execute("select max(experiment_id) from experiments").fetchone()
            answer = database.execute("pragma quick_check(1)").fetchone() if thorough else ("ok",)
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return f"is damaged ({error})"
        if code == sqlite3.SQLITE_ERROR:
            return f"is no database of MLflow ({error})"
        return ""  # busy, no space, no disk: the file itself may be fine
    return "" if answer == ("ok",) else f"is damaged ({answer[0]})"


def replace_if_damaged(destination: Destination) -> None:
    """Read the whole file of the store, and set it aside if it is damaged."""
    file = destination.database
    if destination.own and file and file.exists():
        reason = find_damage(file, thorough=True)
        if reason:
            _set_database_aside(destination, reason)


def _prepare_own(destination: Destination, identity: StoreIdentity) -> None:
    """Create or repair the store's database, and update the store's path and uuid in it."""
    file = destination.database
    assert file is not None
    reason = find_damage(file) if file.exists() else ""
    if reason:
        _set_database_aside(destination, reason)
    make_folder(file.parent / "mlflow-artifacts")
    _create_own(file)
    if not _adopt(file, identity, str(destination.artifacts)):
        _set_database_aside(destination, "belongs to another store")
        _create_own(file)


def _create_own(file: Path) -> None:
    """Create the store's database with the mode of a store's files; its journals get it, too."""
    create_database(file)
    adopt(file)


def _set_database_aside(destination: Destination, reason: str) -> None:
    file = destination.database
    assert file is not None
    set_aside(file, reason, ("-journal", "-wal", "-shm"), _ADVICE)


def _with_fresh_uri(destination: Destination) -> Destination:
    """Replace the URI if MLflow opened it in this process for a file that is gone."""
    current = file_id(destination.database)
    if current is None or _opened.setdefault(destination.uri, current) == current:
        return destination
    return _with_fresh_uri(destination.renewed())


def forget_connection(destination: Destination) -> None:
    """Let the next :func:`connect` open the file anew, since MLflow caches connections by URI."""
    _opened[destination.uri] = _NO_FILE


def create_database(file: Path) -> None:
    """Create MLflow's database under a temporary name, and rename it when it is complete.

    MLflow creates the tables one by one. It can never open a database in which a killed process or
    a full disk left only some of them.
    """
    if file.exists():
        return
    from mlflow import MlflowClient

    for left in file.parent.glob(f".{file.name}.*.part*"):
        left.unlink()
    part = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.part")
    MlflowClient(tracking_uri=sqlite_uri(part)).search_experiments()
    part.replace(file)


def _adopt(file: Path, identity: StoreIdentity, artifacts: str) -> bool:
    """Update the paths and the store's uuid in the database of a moved or copied store.

    Uses SQL, because MLflow can change neither. A new database would lose the users' notes.

    Returns:
        Whether the database is this store's.
    """
    with closing(sqlite3.connect(file, timeout=_LOCKED_SECONDS)) as database, database:
        experiment = database.execute(
            "select experiment_id, artifact_location from experiments where name = ?",
            (EXPERIMENT,),
        ).fetchone()
        if experiment is None:
            return True
        number, location = experiment
        owner = database.execute(
            "select value from experiment_tags where experiment_id = ? and key = ?",
            (number, STORE_TAG),
        ).fetchone()
        known = owner and owner[0]
        if known not in (None, identity.uuid, identity.copied_from):
            return False
        if location != artifacts:
            _move_files(database, location, artifacts)
        if known != identity.uuid:
            _change_owner(database, number, known, identity.uuid)
    return True


def _move_files(database: sqlite3.Connection, before: str, now: str) -> None:
    for table, column in _PATH_COLUMNS:
        database.execute(
            f"update {table} set {column} = ? || substr({column}, ?) "
            f"where substr({column}, 1, ?) = ?",
            (now, len(before) + 1, len(before), before),
        )


def _change_owner(
    database: sqlite3.Connection, experiment: int, before: str | None, now: str
) -> None:
    """Tag the runs with the uuid of the store's copy, or of the store if they have no such tag."""
    database.execute(
        "insert or replace into experiment_tags (key, value, experiment_id) values (?, ?, ?)",
        (STORE_TAG, now, experiment),
    )
    if before:
        database.execute(
            "update tags set value = ? where key = ? and value = ?", (now, STORE_TAG, before)
        )
    else:
        database.execute(
            "insert into tags (key, value, run_uuid) select ?, ?, run_uuid from tags "
            "where key = 'care.kind' and run_uuid not in "
            "(select run_uuid from tags where key = ?)",
            (STORE_TAG, now, STORE_TAG),
        )
