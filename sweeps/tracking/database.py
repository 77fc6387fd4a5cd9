"""Where MLflow keeps its runs, made once, before anybody writes."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.importing import large_imports

EXPERIMENT = "care"
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    # A server that is away must be noticed soon; the tracker tries again by itself.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "GIT_PYTHON_REFRESH": "quiet",
}


def default_tracking_uri(store: Path) -> str:
    """The SQLite file in the store."""
    return f"sqlite:///{(store / 'mlflow.db').resolve()}"


def quiet_environment() -> None:
    """Settings that MLflow reads from the environment; what the user set stays."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def writing(store: Path) -> Iterator[None]:
    """Be the only process of this store that writes to MLflow.

    Several processes that first open one SQLite file crash each other, and two that look for a
    trial's run at once would both make one.
    """
    store.mkdir(parents=True, exist_ok=True)
    with (store / "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def connect(store: Path, uri: str) -> tuple[Any, str]:
    """An MLflow client and the experiment's id, both made if they are missing.

    To be called under :func:`writing`.
    """
    quiet_environment()
    with large_imports():
        from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    if uri == default_tracking_uri(store):
        _make_database(store / "mlflow.db")
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return client, str(experiment.experiment_id)
    local = uri.startswith("sqlite:")
    location = (store / "mlflow-artifacts").resolve().as_uri() if local else None
    # The page then opens on training runs, not on traces of language models.
    tags = {"mlflow.experimentKind": "custom_model_development"}
    made = client.create_experiment(EXPERIMENT, artifact_location=location, tags=tags)
    return client, str(made)


def try_tracking(uri: str) -> None:
    """Raise whatever MLflow raises if it cannot be asked at ``uri``; writes no run."""
    quiet_environment()
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    MlflowClient(tracking_uri=uri).search_experiments(max_results=1)


def _make_database(file: Path) -> None:
    """Make the tables in a file that gets its name when they are complete.

    MLflow makes them one by one and can never open a database in which a killed process or a full
    disk left some of them.
    """
    if file.exists():
        return
    from mlflow import MlflowClient

    for left in file.parent.glob(f".{file.name}.*.part*"):
        left.unlink()
    # MLflow opens a path once in a process, hence a new one each time.
    part = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.part")
    MlflowClient(tracking_uri=f"sqlite:///{part.resolve()}").search_experiments()
    part.replace(file)
