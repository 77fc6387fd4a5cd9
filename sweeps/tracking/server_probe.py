"""The login of MLflow's client, and a run that ``care doctor`` writes to a server and deletes."""

from __future__ import annotations

import os
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps.tracking.database import experiment_name, quiet_environment
from sweeps.tracking.tracking_uri import Destination

OWN_EXPERIMENT = "care-doctor"
_RUN_NAME = "care doctor (may be deleted)"
_FILE = "care-doctor.txt"


@dataclass(frozen=True)
class ClientLogin:
    """The login that MLflow's client uses: from its variables or ``~/.mlflow/credentials``.

    Attributes:
        name: User name; empty if there is none.
        has_password: Whether there is a password.
        arguments: Arguments for ``requests``.
    """

    name: str
    has_password: bool
    arguments: dict[str, Any] = field(repr=False)


@dataclass
class ProbeResult:
    """The outcome of writing a run.

    Attributes:
        experiment: Name of the experiment.
        deleted: Whether the experiment is deleted, so that nothing was written.
        artifacts: URI of the run's artifacts; empty if no run was created.
        run_error: The error of creating the run.
        artifact_error: The error of writing or reading its file.
        changed: Whether the file came back with another content.
        left: What could not be deleted.
    """

    experiment: str
    deleted: bool = False
    artifacts: str = ""
    run_error: Exception | None = None
    artifact_error: Exception | None = None
    changed: bool = False
    left: list[str] = field(default_factory=list)

    @property
    def local(self) -> bool:
        """Whether clients write artifacts to their own disk."""
        return self.artifacts.startswith(("/", "file:"))


def client_login(uri: str) -> ClientLogin:
    """Read the login for a server."""
    quiet_environment()
    from mlflow.utils.credentials import get_default_host_creds

    creds = get_default_host_creds(uri)
    arguments: dict[str, Any] = {"verify": creds.verify}
    if creds.client_cert_path is not None:
        arguments["cert"] = creds.client_cert_path
    if creds.username and creds.password:
        arguments["auth"] = (creds.username.encode(), creds.password.encode())
    elif creds.token:
        arguments["headers"] = {"Authorization": f"Bearer {creds.token}"}
    return ClientLogin(creds.username or "", bool(creds.password), arguments)


def probe_writing(uri: str) -> ProbeResult:
    """Write a run with a file, read the file back and delete both.

    The run is in the experiment of care, whose rights and storage are those of sweeps. If there is
    none yet, it is in an experiment of the doctor's own, which is deleted as well. MLflow shows
    neither then, and ``mlflow gc`` removes them from its database.
    """
    quiet_environment()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    result = ProbeResult(experiment_name(Destination(uri, None, False, Path(), None)))
    own, run = "", None
    try:
        experiment, own = _find_experiment(client, result)
        if not result.deleted:
            run = client.create_run(experiment, run_name=_RUN_NAME)
            result.artifacts = str(run.info.artifact_uri)
            if not result.local:
                _try_artifact(client, run.info.run_id, result)
    except Exception as error:  # noqa: BLE001 - it is the finding
        result.run_error = error
    finally:
        _clean_up(client, run, own, result)
    return result


def _find_experiment(client: Any, result: ProbeResult) -> tuple[str, str]:
    """Find care's experiment, or make the doctor's own; return its id, and once more if it is."""
    found = client.get_experiment_by_name(result.experiment)
    if found is not None:
        result.deleted = found.lifecycle_stage != "active"
        return str(found.experiment_id), ""
    own = client.get_experiment_by_name(OWN_EXPERIMENT)
    if own is None:
        made = str(client.create_experiment(OWN_EXPERIMENT))
        return made, made
    if own.lifecycle_stage != "active":
        client.restore_experiment(own.experiment_id)
    return str(own.experiment_id), str(own.experiment_id)


def _try_artifact(client: Any, run_id: str, result: ProbeResult) -> None:
    content = uuid.uuid4().hex
    try:
        client.log_text(run_id, content, _FILE)
        with tempfile.TemporaryDirectory() as folder:
            read = Path(client.download_artifacts(run_id, _FILE, folder)).read_text()
        result.changed = read != content
    except Exception as error:  # noqa: BLE001 - it is the finding
        result.artifact_error = error


def _clean_up(client: Any, run: Any, own_experiment: str, result: ProbeResult) -> None:
    """Delete file, run and the doctor's own experiment; note what could not be deleted."""
    if run is not None and not result.local:
        try:
            client._tracking_client._get_artifact_repo(run.info.run_id).delete_artifacts(_FILE)
        except Exception:  # noqa: BLE001 - a storage without deletion, or nothing was written
            if _has_file(client, run.info.run_id):
                result.left.append(f"file {_FILE} of run {run.info.run_id}")
    if run is not None:
        try:
            client.delete_run(run.info.run_id)
        except Exception:  # noqa: BLE001 - without the right to delete
            result.left.append(f"run {run.info.run_id}")
    if own_experiment:
        try:
            client.delete_experiment(own_experiment)
        except Exception:  # noqa: BLE001 - as above
            result.left.append(f"experiment {OWN_EXPERIMENT}")


def _has_file(client: Any, run_id: str) -> bool:
    try:
        return any(file.path == _FILE for file in client.list_artifacts(run_id))
    except Exception:  # noqa: BLE001 - nothing is known to be left
        return False
