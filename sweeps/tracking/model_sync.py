"""The sync of MLflow's models with the store: export, logging and removal, a trial at a time."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from care.errors import CareError
from care.system.permissions import adopt
from sweeps.account import Ending
from sweeps.plan import Plan
from sweeps.spec.sweep import Sweep
from sweeps.tracking.answer import AnswerReader, answer_key
from sweeps.tracking.encoder_export import EncoderExporter, NoEncoderError
from sweeps.tracking.logged_models import LoggedModels
from sweeps.tracking.marks import read_marks, set_marks, short_digest
from sweeps.tracking.mlflow_sync import MlflowSync
from sweeps.tracking.model_choice import choose_models
from sweeps.tracking.run import Run
from sweeps.tracking.run_record import RunRecord, TrackedTrial, read_record
from sweeps.tracking.sweep_views import member_tag
from sweeps.tracking.tracking_uri import VARIABLE

_log = logging.getLogger(__name__)


class NoStorageError(CareError):
    """The storage of a server does not take files; a warning has said why."""


class ModelSync:
    """Syncs MLflow's models with the store.

    Every method may raise any error of MLflow. The lock is free while an encoder is exported.

    Args:
        mlflow: The sync of the runs, to which the models belong.
    """

    def __init__(self, mlflow: MlflowSync) -> None:
        self._mlflow = mlflow
        self._models = LoggedModels(mlflow.runs)

    def is_current(self, sweep: str, key: str) -> bool:
        """Check whether a sweep's models are those of these inputs, or its run is deleted."""
        with self._mlflow.writing():
            run = self._mlflow.sweep_run(sweep)
            known = read_marks(run).get("models") == key and self._models.has_files(sweep)
            return run.deleted or known

    def sync(
        self, trial: TrackedTrial, sweep: str, exporter: EncoderExporter, *, with_seeds: bool
    ) -> None:
        """Log the encoder of a finished trial as a model of its run, unless MLflow has it.

        Args:
            trial: The trial; without an active run it gets no model.
            sweep: Name of a sweep that wants the model.
            exporter: Exports the encoder.
            with_seeds: Whether the model card has means over seeds, which reads every trial.

        Raises:
            NoEncoderError: The trial has no weights, or a plugin's preprocessing.
        """
        record = read_record(trial)
        with self._mlflow.writing():
            run = self._mlflow.runs.find(record.identity)
        if run is not None and not run.deleted:
            self._complete(trial, record, run, sweep, exporter, with_seeds=with_seeds)

    def log(self, trial: TrackedTrial, exporter: EncoderExporter) -> tuple[Any, str]:
        """Log the encoder of any trial as a model, and return it with the name of a sweep.

        Raises:
            CareError: MLflow has no run of the trial.
            NoEncoderError: The trial has no weights, or a plugin's preprocessing.
        """
        record = read_record(trial)
        with self._mlflow.writing():
            run = self._mlflow.runs.find(record.identity)
        if run is None or run.deleted:
            state = "deleted its run" if run else "no run"
            raise CareError(
                f"{self._mlflow.destination}: MLflow has {state} of trial {trial.folder.trial_id}; "
                "'care track sync' writes the runs of all sweeps' trials"
            )
        sweeps = [name for name in run.tags if name.startswith(member_tag(""))]
        sweep = min(sweeps).removeprefix(member_tag(""))
        return self._complete(trial, record, run, sweep, exporter, with_seeds=True), sweep

    def _complete(
        self,
        trial: TrackedTrial,
        record: RunRecord,
        run: Run,
        sweep: str,
        exporter: EncoderExporter,
        *,
        with_seeds: bool,
    ) -> Any:
        """Log the model of a run; the lock is free while the encoder is exported."""
        with self._mlflow.writing():
            model = self._models.find(run, len(record.epochs))
            if model is not None and self._models.is_complete(model):
                self._models.join(model, sweep)
                return model
            if not trial.folder.has_checkpoint():
                raise NoEncoderError(f"{trial.folder.path}: has no weights")
            model = model or self._models.create(run, record, sweep)
        with self._models.files_of(model) as files:
            try:
                digest = exporter.export(trial.folder.path, files, with_seeds=with_seeds)
                if self._mlflow.destination.own:
                    adopt(files)
            except NoEncoderError:
                with self._mlflow.writing():
                    self._models.discard(model)
                raise
            with self._mlflow.writing():
                self._models.join(model, sweep)
                if not self._models.complete(run, record, model, files, digest):
                    raise NoStorageError(f"{self._mlflow.destination}: takes no files")
        return model

    @contextlib.contextmanager
    def writing_registry(self) -> Iterator[Any]:
        """Hold the lock, and yield a client of the registry of models.

        MLflow's registry looks up logged models at the process's own URI, which is set meanwhile.
        """
        with self._mlflow.writing():
            client, before = self._mlflow.runs.client, os.environ.get(VARIABLE)
            os.environ[VARIABLE] = self._mlflow.destination.uri
            try:
                yield client
            finally:
                os.environ.pop(VARIABLE)
                if before is not None:
                    os.environ[VARIABLE] = before

    def keep(self, sweep: str, kept: Collection[str], key: str) -> None:
        """Delete the other models of a sweep, and record that its models are complete.

        Args:
            sweep: The sweep's name.
            kept: Identities of the trials whose models stay.
            key: Digest of the inputs of the choice.
        """
        with self._mlflow.writing():
            self._models.leave(sweep, kept)
            self._models.remove_lost_files()
            self._mlflow.on_sweep(
                sweep, lambda run: self._mlflow.runs.log(run, {}, [], set_marks(run, models=key))
            )


def models_key(plan: Plan, versions: Mapping[str, str]) -> str:
    """Hash the inputs of the choice of a sweep's models."""
    return short_digest([plan.sweep.spec.tracking.models, answer_key(plan, {}, versions, Ending())])


def sync_model(
    models: ModelSync, trial: TrackedTrial, sweep: Sweep, exporter: EncoderExporter
) -> bool:
    """Log the model of a trial; one that cannot have a model is named in the log.

    Returns:
        Whether nothing is left to do: False if a server's storage takes no files.
    """
    try:
        with_seeds = sweep.spec.tracking.models != "all"
        models.sync(trial, sweep.spec.name, exporter, with_seeds=with_seeds)
    except NoEncoderError as error:
        _log.info("MLflow gets no model of trial %s: %s", trial.folder.trial_id, error)
    except NoStorageError:
        return False
    return True


def sync_models(
    models: ModelSync,
    plan: Plan,
    trials: Mapping[str, TrackedTrial],
    answer: AnswerReader,
    exporter: EncoderExporter,
) -> None:
    """Bring the models of a sweep up to date."""
    versions = {identity: trial.version for identity, trial in trials.items()}
    key, name = models_key(plan, versions), plan.sweep.spec.name
    if models.is_current(name, key):
        return
    choice = choose_models(plan, functools.partial(answer.read_values, versions=versions))
    for identity in choice.wanted:
        if not sync_model(models, trials[identity], plan.sweep, exporter):
            return
    models.keep(name, choice.kept, key)
