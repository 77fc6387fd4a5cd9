"""Find the trial or the export that a user names, and read a trial's configuration."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from care.config import TrialConfig
from care.config.loading import validate
from care.errors import CareError, ConfigError, Problem
from care.pretrained.exported import is_exported
from care.system.files import DamagedFileError
from care.trials.find import find_trial
from care.trials.folder import TrialFolder, check_format
from care.trials.identity import trial_id
from care.trials.pinned import trial_model

_DIGITS = re.compile(r"[0-9a-fA-F]{1,16}")
_MODEL_URI = "models:/"
_SOURCES = "allowed: the first digits of a trial's identity, a trial's folder, an exported folder"


@contextlib.contextmanager
def open_source(
    source: str | os.PathLike[str], store: str | os.PathLike[str] | None = None
) -> Iterator[Path]:
    """Yield the folder of a trial, of an export, or of a model in MLflow.

    Args:
        source: As of :func:`find_source`, or ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``,
            ``models:/m-ID``.
        store: As of :func:`find_source`.

    Raises:
        CareError: MLflow is not installed or does not answer, or the model is no encoder.
        ConfigError: There is no such source.
    """
    name = os.fspath(source)
    if not name.startswith(_MODEL_URI):
        yield find_source(source, store)
        return
    # By name: this package knows no MLflow, and an exported encoder does not need it.
    module = importlib.import_module("sweeps.tracking.model_source")
    with module.open_model(name, default_store(store)) as folder:
        yield folder


def default_store(store: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the store: the given one, else ``CARE_STORE``, else ``runs``."""
    return Path(store or os.environ.get("CARE_STORE") or "runs")


def find_source(
    source: str | os.PathLike[str], store: str | os.PathLike[str] | None = None
) -> Path:
    """Find the folder of a trial or of an export.

    Args:
        source: First digits of a trial's identity, a trial's folder, an exported folder, or a file
            of one.
        store: Folder of the run store; by default ``CARE_STORE``, else ``runs``.

    Raises:
        ConfigError: There is no such trial or folder, or several trials begin with these digits.
    """
    name = os.fspath(source)
    if name.startswith(_MODEL_URI):
        raise ConfigError(
            "care.load", [Problem("source", name, f"{_SOURCES}; models:/… is for care.load")]
        )
    path = Path(name)
    if path.is_file() and is_exported(path.parent):
        path = path.parent
    if is_exported(path) or (path / "trial.json").is_file():
        return path
    if isinstance(source, str) and _DIGITS.fullmatch(name):
        root = default_store(store)
        if not root.is_dir():
            allowed = "allowed: the folder of a run store: store=…, --store or CARE_STORE"
            raise ConfigError("care.load", [Problem("store", str(root.absolute()), allowed)])
        return find_trial(name, root / "trials").path
    if os.path.lexists(path):
        what = "this folder has neither" if path.is_dir() else "this is a file of neither"
        allowed = f"{_SOURCES}; {what}"
    else:
        allowed = f"{_SOURCES}; there is no such path"
    raise ConfigError("care.load", [Problem("source", name, allowed)])


def read_config(folder: TrialFolder) -> TrialConfig:
    """Read a trial's configuration, checked against its identity.

    Raises:
        CareError: The trial was never started, or by a newer version of this project.
        ConfigError: The configuration needs a plugin.
        DamagedFileError: The folder holds the configuration of another trial.
    """
    trial = folder.read_trial()
    if trial is None:
        raise CareError(f"{folder.path}: was never started, so there is no network")
    check_format(trial.format, folder.path)
    identifying = {name: part for name, part in trial.config.items() if name != "runtime"}
    identity = trial_id(validate(trial_model(identifying), identifying, str(folder.path)))
    if identity != trial.trial_id:
        problem = f"holds the configuration of another trial, {identity}"
        raise DamagedFileError(folder.path / "trial.json", problem)
    return validate(trial_model(trial.config), trial.config, str(folder.path))
