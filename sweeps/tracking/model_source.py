"""The files of a model in MLflow, for ``care.load("models:/…")``. Writes nothing."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from care.errors import CareError, ConfigError, Problem, nearest
from care.pretrained.exported import RECORD, WEIGHTS, is_exported, read_exported
from care.system.files import DamagedFileError
from sweeps.process.imports import large_imports
from sweeps.tracking.background import describe_error
from sweeps.tracking.database import quiet_environment
from sweeps.tracking.local_files import local_folder
from sweeps.tracking.logged_models import SHA256
from sweeps.tracking.tracking_uri import VARIABLE, Destination, destination_of

_NAMED = r"(?P<name>[^/@:]+)(?:@(?P<alias>.+)|/(?P<v>\d+))"
_URI = re.compile(rf"models:/(?:(?P<id>m-[0-9a-f]+)|{_NAMED})")
_ALLOWED = "allowed: models:/NAME@ALIAS, models:/NAME/VERSION, models:/m-ID"
_NONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_MOST_NAMES = 100


@contextlib.contextmanager
def open_model(uri: str, store: Path) -> Iterator[Path]:
    """Yield a folder with the export of a model, a temporary one if it is on a server.

    Args:
        uri: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or ``models:/m-ID``.
        store: The store, whose file is read unless ``MLFLOW_TRACKING_URI`` names a server.

    Raises:
        CareError: MLflow is not installed or does not answer, or this is no encoder of care.
        ConfigError: There is no such model; names the nearest one.
        DamagedFileError: The files are not those that were logged.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise ConfigError("care.load", [Problem("source", uri, _ALLOWED)])
    destination = destination_of(store, os.environ.get(VARIABLE) or None)
    if destination.database is not None and not destination.database.is_file():
        problem = f"{destination}: no MLflow file is here, so there is no {uri}. Name the store "
        raise CareError(f"{problem}(store=… or CARE_STORE), or a server ({VARIABLE})")
    client = _connect(destination)
    with _explained(destination, uri):
        identity = match["id"] or _model_id(client, match, uri)
        model = client.get_logged_model(identity)
    folder = _folder_of(destination, model, store)
    with contextlib.ExitStack() as stack:
        if folder is None:
            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="care-model-"))
            folder = _download(destination, model, Path(temporary))
        _check(uri, folder, model)
        yield folder


def _connect(destination: Destination) -> Any:
    quiet_environment()
    try:
        with large_imports():
            from mlflow import MlflowClient
    except ImportError as error:
        raise CareError(f"models:/… needs MLflow: pip install mlflow ({error})") from error
    return MlflowClient(tracking_uri=destination.uri, registry_uri=destination.uri)


@contextlib.contextmanager
def _explained(destination: Destination, uri: str) -> Iterator[None]:
    """Turn MLflow's errors into ours."""
    try:
        yield
    except CareError:
        raise
    except Exception as error:
        if getattr(error, "error_code", "") in _NONE:
            allowed = f"allowed: a model of {destination}, which has none of that name"
            raise ConfigError("care.load", [Problem("source", uri, allowed)]) from error
        problem = f"{destination}: MLflow does not give {uri} ({describe_error(error)})"
        raise CareError(problem) from error


def _model_id(client: Any, match: re.Match[str], uri: str) -> str:
    """Return the id of the logged model behind a version of a registered one."""
    name, alias, version = match["name"], match["alias"], match["v"]
    known = {one.name: one for one in client.search_registered_models(max_results=_MOST_NAMES)}
    if name not in known:
        allowed = f"allowed: a registered model ({', '.join(sorted(known)) or 'none yet'})"
        close = nearest(f"models:/{name}", [f"models:/{one}" for one in known])
        raise ConfigError("care.load", [Problem("source", uri, allowed, close)])
    aliases = client.get_registered_model(name).aliases
    if alias and alias not in aliases:
        some = ", ".join(f"models:/{name}@{one}" for one in sorted(aliases)) or "no alias yet"
        close = nearest(alias, list(aliases))
        close = f"models:/{name}@{close}" if close else None
        raise ConfigError("care.load", [Problem("source", uri, f"allowed: {some}", close)])
    version = version or aliases[alias]
    source = str(client.get_model_version(name, version).source)
    logged = _URI.fullmatch(source)
    if logged is None or not logged["id"]:
        raise CareError(f"{uri}: is no encoder of care; its source is {source}")
    return logged["id"]


def _folder_of(destination: Destination, model: Any, store: Path) -> Path | None:
    """Return the folder of a model beside a database, wherever the store was moved."""
    if destination.own:
        return store / "mlflow-artifacts" / "models" / str(model.model_id) / "artifacts"
    return local_folder(destination, model.artifact_location)


def _download(destination: Destination, model: Any, folder: Path) -> Path:
    from mlflow.artifacts import download_artifacts

    with _explained(destination, f"models:/{model.model_id}"):
        got = download_artifacts(
            artifact_uri=f"models:/{model.model_id}",
            dst_path=str(folder),
            tracking_uri=destination.uri,
        )
    return Path(got)


def _check(uri: str, folder: Path, model: Any) -> None:
    """Check that the files are an export, and the one that was logged."""
    if not is_exported(folder):
        raise CareError(
            f"{uri}: is no encoder of care: {folder} has no {RECORD} and {WEIGHTS}. "
            "'care track sync' writes those of the store's sweeps again."
        )
    logged = model.tags.get(SHA256)
    if logged and read_exported(folder).sha256 != logged:
        problem = f"was changed: MLflow logged weights with SHA-256 {logged}"
        raise DamagedFileError(folder / RECORD, problem, "Log the model again.")
