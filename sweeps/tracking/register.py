"""``care model register``: a trial's encoder as a version of a registered model."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from care.config import TrialConfig
from care.errors import CareError, ConfigError, Problem
from care.pretrained.source import read_config
from care.trials.find import find_trial
from care.trials.folder import TrialFolder
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.store import Store
from sweeps.tracking.background import describe_error
from sweeps.tracking.encoder_export import EncoderExporter
from sweeps.tracking.mlflow_sync import MlflowSync
from sweeps.tracking.model_sync import ModelSync
from sweeps.tracking.run_record import TrackedTrial, inspect_trial

_NAME = re.compile(r"[^/:%\"'@\s]{1,63}")
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_VERSION = re.compile(r"v\d+|latest|\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Registered:
    """A version of a registered model.

    Attributes:
        trial: Identity of the trial.
        name: Name of the model.
        version: Its version.
        alias: The alias that points to it; empty for none.
        new: Whether this call created the version.
    """

    trial: str
    name: str
    version: str
    alias: str
    new: bool

    @property
    def address(self) -> str:
        """The address by which ``care.load`` loads it."""
        return f"models:/{self.name}" + (f"@{self.alias}" if self.alias else f"/{self.version}")


def register(
    store: Store,
    digits: str,
    name: str = "",
    alias: str = "",
    uri: str | None = None,
    *,
    unfinished: bool = False,
    stale: bool = False,
) -> Registered:
    """Register the encoder of a trial; again, this gives the version that there is.

    Args:
        store: The store.
        digits: First digits of the trial's identity.
        name: Name of the registered model; by default that of a sweep with the trial.
        alias: Alias that shall point to the version; it is taken from another version.
        uri: MLflow's tracking URI; None for the store's SQLite file.
        unfinished: Register the encoder of an unfinished training.
        stale: Register the encoder of a trial of other code or data.

    Raises:
        CareError: MLflow has no run of the trial, cannot be written, or the trial has no weights.
        ConfigError: No such trial, a name that is not allowed, or a trial in a state that was not
            asked for.
    """
    _check_names(name, alias)
    folder = find_trial(digits, store.trials)
    config = read_config(folder)
    trial = inspect_trial(folder, folder.trial_id, Versions(), config)
    _check_state(trial, config, unfinished=unfinished, stale=stale)
    mlflow = MlflowSync(store.root, uri)
    models = ModelSync(mlflow)
    with _explained(mlflow), EncoderExporter() as exporter:
        model, sweep = models.log(trial, exporter)
        name = name or sweep
        with models.writing_registry() as client:
            version, new = _version(client, name, model, folder)
            if alias:
                client.set_registered_model_alias(name, alias, version)
    return Registered(folder.trial_id, name, version, alias, new)


def _check_names(name: str, alias: str) -> None:
    problems = []
    if name and not _NAME.fullmatch(name):
        allowed = "allowed: up to 63 characters, without spaces and / : % @ \" '"
        problems.append(Problem("--name", name, allowed))
    if alias and (not _ALIAS.fullmatch(alias) or _VERSION.fullmatch(alias)):
        allowed = "allowed: letters, digits, '-', '_'; not latest or v1, which are versions"
        problems.append(Problem("--alias", alias, allowed))
    if problems:
        raise ConfigError("care model register", problems)


def _check_state(
    trial: TrackedTrial, config: TrialConfig, *, unfinished: bool, stale: bool
) -> None:
    """Refuse a trial in a state that the user did not ask for."""
    state, allowed = trial.status.state, ""
    if state == State.DAMAGED:
        allowed = f"allowed: a trial that is not damaged ({trial.status.reason})"
    elif state == State.STALE and not stale:
        allowed = f"allowed: a trial of this code and data, or --stale ({trial.status.reason})"
    elif state not in (State.FINISHED, State.STALE) and not unfinished:
        epochs = f"{trial.status.epoch} of {config.training.epochs} epochs"
        allowed = f"allowed: a finished trial, or --unfinished (it is {state.value}, {epochs})"
    if allowed:
        raise ConfigError("care model register", [Problem("trial", trial.folder.trial_id, allowed)])


def _version(client: Any, name: str, model: Any, folder: TrialFolder) -> tuple[str, bool]:
    """Find or create the version of a logged model, and return whether it is new."""
    source = f"models:/{model.model_id}"
    if not list(client.search_registered_models(f"name = '{name}'")):
        client.create_registered_model(name)
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.source == source:
            return str(version.version), False
    new = client.create_model_version(
        name,
        source,
        run_id=model.source_run_id,
        model_id=model.model_id,
        tags={"trial_id": folder.trial_id, "point": model.tags.get("point", "")},
        await_creation_for=0,
    )
    return str(new.version), True


@contextlib.contextmanager
def _explained(mlflow: MlflowSync) -> Iterator[None]:
    try:
        yield
    except CareError:
        raise
    except Exception as error:
        problem = f"MLflow cannot be written ({describe_error(error)})"
        raise CareError(f"{mlflow.destination}: {problem}") from error
