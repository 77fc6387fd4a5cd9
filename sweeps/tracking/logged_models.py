"""MLflow's logged models: the encoders of trials, as ``care export`` writes them.

A model belongs to the trial's run, has its final measures, and names the sweeps that want it as
tags. It is READY only once its files, its run and its measures are complete. One that no sweep
wants is deleted with its files, unless it is registered or a user tagged it.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from care.pretrained.exported import is_exported
from sweeps.tracking.database import STORE_TAG
from sweeps.tracking.marks import NOTE, short_digest
from sweeps.tracking.run import Run
from sweeps.tracking.run_cache import RunCache
from sweeps.tracking.run_record import RunRecord
from sweeps.tracking.sweep_views import member_tag

_READY = "READY"
_USER, _NOTE_DIGEST = "mlflow.user", "care.note"
_EPOCHS, SHA256 = "care.epochs", "care.sha256"
_OURS = ("care.", "sweep.", "trial_id", "point", _USER, NOTE)
_PAGE = 500
_TYPE = "encoder"
_SHORT = 8
_TRANSFER = "encoder/transfer_"


class LoggedModels:
    """A store's models, for the holder of the destination's lock.

    Args:
        runs: The store's runs.
    """

    def __init__(self, runs: RunCache) -> None:
        self._runs = runs

    def find(self, run: Run, epochs: int) -> Any | None:
        """Find the model of a trial's run after some epochs, a complete one first."""
        trial = run.tags["trial_id"]
        models = [
            model
            for model in self.search("trial_id", trial)
            if model.source_run_id == run.run_id and model.tags.get(_EPOCHS) == str(epochs)
        ]
        return min(models, key=lambda model: str(model.status) != _READY, default=None)

    def is_complete(self, model: Any) -> bool:
        """Check that a model is READY and that its files are there, as far as they are local."""
        folder = self._runs.folder_of(model.artifact_location)
        return str(model.status) == _READY and (folder is None or is_exported(folder))

    def has_files(self, sweep: str) -> bool:
        """Check that the files of a sweep's models were not lost, by one of its models."""
        model = next(self.search(member_tag(sweep), "yes"), None)
        return model is None or self.is_complete(model)

    def search(self, tag: str, value: str) -> Iterator[Any]:
        """Query the store's models with a tag."""
        client, token = self._runs.client, None
        while True:
            page = client.search_logged_models(
                [self._runs.experiment],
                f"tags.`{tag}` = '{value}'",
                max_results=_PAGE,
                page_token=token,
            )
            yield from (model for model in page if model.tags.get(STORE_TAG) == self._runs.owner)
            token = page.token
            if not token:
                return

    def create(self, run: Run, record: RunRecord, sweep: str) -> Any:
        """Create the model of a trial, not READY yet, with the short names of its parameters."""
        trial = run.tags["trial_id"]
        return self._runs.client.create_logged_model(
            self._runs.experiment,
            name=f"{sweep.replace('.', '-')}-{trial[:_SHORT]}",
            source_run_id=run.run_id,
            tags={
                STORE_TAG: self._runs.owner,
                "trial_id": trial,
                "point": run.tags.get("point") or "all",
                member_tag(sweep): "yes",
                _USER: run.tags.get(_USER, ""),
                _EPOCHS: str(len(record.epochs)),
            },
            params={name: value for name, value in record.params.items() if "." not in name},
            model_type=_TYPE,
        )

    @contextlib.contextmanager
    def files_of(self, model: Any) -> Iterator[Path]:
        """Yield a folder to write a model's files to; :meth:`complete` gives them to a server."""
        folder = self._runs.folder_of(model.artifact_location)
        if folder is not None:
            yield folder
            return
        with tempfile.TemporaryDirectory(prefix="care-model-") as temporary:
            yield Path(temporary, "encoder")

    def complete(self, run: Run, record: RunRecord, model: Any, files: Path, sha256: str) -> bool:
        """Tie a model with complete files to its run, data and measures; READY is written last.

        Returns:
            Whether it is READY; False if a server's storage does not take its files.
        """
        from mlflow.entities import LoggedModelOutput, Metric

        client = self._runs.client
        remote = self._runs.folder_of(model.artifact_location) is None
        if remote and not self._runs.upload(
            functools.partial(client.log_model_artifacts, model.model_id, str(files))
        ):
            return False
        outputs = client.get_run(run.run_id).outputs
        if not any(one.model_id == model.model_id for one in outputs.model_outputs):
            step = record.measures[0][3] if record.measures else len(record.epochs)
            client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step)])
        data = next((one for one in record.datasets if one.context == "train"), None)
        metrics = [
            Metric(
                *row,
                model_id=model.model_id,
                run_id=run.run_id,
                dataset_name=data.name if data and not row[0].startswith(_TRANSFER) else None,
                dataset_digest=data.digest if data and not row[0].startswith(_TRANSFER) else None,
            )
            for row in record.measures
        ]
        if metrics:
            client.log_batch(run.run_id, metrics=metrics)
        note = (
            f"Encoder of **{run.tags.get('point') or 'the trial'}**, seed {record.params['seed']}."
        )
        note += f'\n\nLoad it: `care.load("models:/{model.model_id}")`'
        tags = {SHA256: sha256, NOTE: note, _NOTE_DIGEST: short_digest(note)}
        client.set_logged_model_tags(model.model_id, tags)
        client.finalize_logged_model(model.model_id, _READY)
        return True

    def join(self, model: Any, sweep: str) -> None:
        """Record that a sweep wants a model."""
        if member_tag(sweep) not in model.tags:
            self._runs.client.set_logged_model_tags(model.model_id, {member_tag(sweep): "yes"})

    def leave(self, sweep: str, kept: Collection[str]) -> None:
        """Let a sweep no longer want models, but for those of some trials' active runs.

        Args:
            sweep: The sweep's name.
            kept: Identities of trials.
        """
        for model in self.search(member_tag(sweep), "yes"):
            if model.tags.get("trial_id") not in kept or not self._has_active_run(model):
                self._drop(model, sweep)

    def forget_trial(self, run: Run) -> None:
        """Delete the models of a trial's deleted run, except registered ones."""
        for model in self.search("trial_id", run.tags["trial_id"]):
            if model.source_run_id == run.run_id:
                self._delete(model)

    def discard(self, model: Any) -> None:
        """Delete a model that cannot be completed."""
        self._delete(model)

    def remove_lost_files(self) -> None:
        """Remove the files of models that the store's own file does not have, e.g. after its loss.

        Only exports of this project are removed.
        """
        folder = self._runs.own_models
        if folder is None or not folder.is_dir():
            return
        known = {model.model_id for model in self.search(STORE_TAG, self._runs.owner)}
        for lost in folder.iterdir():
            if lost.name not in known and is_exported(lost / "artifacts"):
                shutil.rmtree(lost, ignore_errors=True)

    def _has_active_run(self, model: Any) -> bool:
        runs = self._runs.search([("trial_id", model.tags["trial_id"])])
        return any(run.run_id == model.source_run_id and not run.deleted for run in runs)

    def _drop(self, model: Any, sweep: str) -> None:
        others = [
            name for name in model.tags if name.startswith("sweep.") and name != member_tag(sweep)
        ]
        if others and self._has_active_run(model):
            self._runs.client.delete_logged_model_tag(model.model_id, member_tag(sweep))
        else:
            self._delete(model, member_tag(sweep))

    def _delete(self, model: Any, tag: str = "") -> None:
        """Delete a model and its files; one that users registered or tagged only loses a tag."""
        client = self._runs.client
        registered = client.search_model_versions(f"source_path = 'models:/{model.model_id}'")
        if registered or _is_a_reviewers(model):
            if tag in model.tags:
                client.delete_logged_model_tag(model.model_id, tag)
            return
        # The files first: a model without files is found again, files without a model are not.
        self._remove_files(model)
        client.delete_logged_model(model.model_id)

    def _remove_files(self, model: Any) -> None:
        folder = self._runs.folder_of(model.artifact_location)
        if folder is not None:
            shutil.rmtree(folder.parent, ignore_errors=True)
            return
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with contextlib.suppress(Exception):  # a storage that cannot delete keeps them
            get_artifact_repository(model.artifact_location).delete_artifacts()


def _is_a_reviewers(model: Any) -> bool:
    """Check whether a user tagged a model, or edited its description."""
    note = model.tags.get(NOTE)
    edited = note is not None and short_digest(note) != model.tags.get(_NOTE_DIGEST)
    return edited or any(not name.startswith(_OURS) for name in model.tags)
