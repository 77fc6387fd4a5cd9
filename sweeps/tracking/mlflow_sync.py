"""The sync of MLflow's runs with the store's files, a sweep or a trial at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from care.errors import CareError
from care.trials.records import SweepRecord
from care.trials.state import RecordedState, State
from sweeps.process.lock import locked
from sweeps.states import MEANING
from sweeps.store import Store
from sweeps.tracking.deleted_runs import follow_deletions, is_followed, sweep_created
from sweeps.tracking.run_cache import Identity, Row, Run, RunCache
from sweeps.tracking.run_record import (
    LONGEST_MESSAGE,
    RunRecord,
    TrackedTrial,
    read_record,
    trial_identity,
)
from sweeps.tracking.source_tags import source_tags, user_tag
from sweeps.tracking.tracking_uri import destination_of

_LOGGED, _CONFIRMED, _REPORT = "care.epochs_logged", "care.confirmed", "care.report"
_NOTE, _NOTE_DIGEST = "mlflow.note.content", "care.note"
_MAYBE_ABSENT = ("error", "stale_reason")
# MLflow's error codes for a write to a deleted run.
_DELETED_ERRORS = ("INVALID_PARAMETER_VALUE", "INVALID_STATE")
# Version of the runs' content: a sweep that an older version confirmed is synced again.
_CONTENT_VERSION = 2


class MlflowSync:
    """Syncs MLflow's runs with the store, a sweep or a trial at a time.

    Every method may raise any error of MLflow; the store never depends on MLflow. Runs of other
    stores, and runs that were deleted in MLflow, are never changed.

    Args:
        store: Root of the store.
        uri: MLflow's tracking URI; by default an SQLite file in the store.
    """

    def __init__(self, store: Path, uri: str | None = None) -> None:
        self.store = store
        self.destination = destination_of(store, uri)
        self._runs = RunCache(store, self.destination)
        self._written: dict[tuple[str, str], str] = {}
        self._deletions_followed = False

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock of the processes that write to the destination.

        Processes that open a new SQLite file at one time make each other crash. Two processes that
        search for a trial's run at one time would both create it.
        """
        with locked(self.destination.lock):
            if self._runs.renew():
                self._written.clear()
                self._deletions_followed = False
            try:
                if not self._deletions_followed:
                    follow_deletions(self._runs, Store(self.store))
                    self._deletions_followed = True
                yield
            except BaseException:
                self._runs.suspect()
                raise

    def sync_sweep(
        self,
        name: str,
        description: str,
        state: RecordedState = State.RUNNING,
        mixed: str | None = None,
    ) -> None:
        """Create or update the parent run of a sweep; a description that a user edited is kept.

        Args:
            name: The sweep's name.
            description: The sweep's description.
            state: The sweep's state.
            mixed: The facts in which its trials differ, or ``no``; None keeps the run's tag.
        """

        def update(run: Run) -> None:
            tags = source_tags(self._declaration(name))
            if mixed is not None:
                tags = {**tags, "mixed": mixed}
            self._runs.log(run, {}, [], {**tags, **self._note(run, description)})
            self._runs.set_status(run, MEANING[state].mlflow, None)

        with self._writing():
            self._on_sweep(name, update)

    def recall(self, sweep: str, trials: Iterable[TrackedTrial]) -> bool:
        """Cache MLflow's runs of a sweep's trials, in a few calls.

        Returns:
            Whether MLflow has everything: these versions of the trials were confirmed.
        """
        versions = _versions(trials)
        with self._writing():
            if self._sweep_run(sweep).tags.get(_CONFIRMED) == _digest(versions):
                self._written |= {(sweep, trial): version for trial, version in versions.items()}
                return True
            runs = self._runs.search([(f"sweep.{sweep}", "member")])
            for run in sorted(runs, key=lambda run: not run.deleted):
                names = ("trial_id", "care.kind", "care.created")
                self._runs.remember(tuple((name, run.tags.get(name, "")) for name in names), run)
        return False

    def confirm(self, sweep: str, trials: Iterable[TrackedTrial]) -> None:
        """Record in MLflow that a sweep's trials are complete there, if all were synced."""
        versions = _versions(trials)
        tags = {_CONFIRMED: _digest(versions)}
        if all(self._written.get((sweep, trial)) == version for trial, version in versions.items()):
            with self._writing():
                self._on_sweep(sweep, lambda run: self._runs.log(run, {}, [], tags))

    def sync_trial(self, trial: TrackedTrial, sweep: str) -> bool:
        """Create or update the child run of a trial; only missing content is written.

        Args:
            trial: The trial; one that was never started gets no run.
            sweep: Name of a sweep with this trial. The first sweep is the run's parent; every one
                is recorded as a tag ``sweep.<name>``.

        Returns:
            Whether MLflow was called.
        """
        key = sweep, trial.folder.trial_id
        if not trial.version or self._written.get(key) == trial.version:
            return False
        record, reason = None, trial.status.reason
        try:
            record = read_record(trial)
        except CareError as error:
            reason = reason or str(error)
        with self._writing():
            if record:
                self._write(record, sweep, trial.label)
            else:
                self._mark_damaged(trial.folder.trial_id, reason)
        self._written[key] = trial.version
        return True

    def attach(self, sweep: str, files: list[Path]) -> None:
        """Attach files, e.g. the report, to the sweep's run, unless it has them."""
        content = [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]
        digest = _short_digest(content)

        def send(run: Run) -> None:
            if run.tags.get(_REPORT) == digest and all(
                self._runs.has_artifact(run, f"report/{file.name}") for file in files
            ):
                return
            for file in files:
                self._runs.client.log_artifact(run.run_id, str(file), artifact_path="report")
            self._runs.log(run, {}, [], {_REPORT: digest})

        with self._writing():
            self._on_sweep(sweep, send)

    def _declaration(self, sweep: str) -> SweepRecord | None:
        with contextlib.suppress(CareError):
            return Store(self.store).sweep(sweep).read()
        return None

    def _sweep_run(self, name: str) -> Run:
        identity = (("sweep", name), ("care.kind", "sweep"))
        existing = self._runs.find(identity)
        if existing and not is_followed(existing):
            return existing
        declaration = self._declaration(name)
        tags = {**user_tag(declaration), **source_tags(declaration), **sweep_created(declaration)}
        return self._runs.create(name, identity, tags)

    def _on_sweep(self, name: str, change: Callable[[Run], None]) -> None:
        self._change((("sweep", name), ("care.kind", "sweep")), self._sweep_run(name), change)

    def _change(self, identity: Identity, run: Run, change: Callable[[Run], None]) -> None:
        """Change a run, unless it is deleted in MLflow, even since it was cached."""
        if run.deleted:
            return
        try:
            change(run)
        except BaseException as error:
            self._runs.forget(identity)
            if getattr(error, "error_code", "") not in _DELETED_ERRORS:
                raise
            now = self._runs.find(identity)
            if now is None or not now.deleted:
                self._runs.forget(identity)
                raise

    def _note(self, run: Run, text: str) -> dict[str, str]:
        """Make the tags of the description; empty if a user edited the run's description."""
        tags = {_NOTE: text, _NOTE_DIGEST: _short_digest(text)}
        if not text or run.tags.get(_NOTE_DIGEST) == tags[_NOTE_DIGEST]:
            return {}
        if _NOTE in run.tags:
            self._runs.refresh(run)
        current = run.tags.get(_NOTE)
        edited = current is not None and _short_digest(current) != run.tags.get(_NOTE_DIGEST)
        return {} if edited else tags

    def _write(self, record: RunRecord, sweep: str, label: str) -> None:
        run = self._trial_run(record, sweep, label)
        self._change(record.identity, run, lambda run: self._update(run, record, sweep))
        if record.state == State.FINISHED:
            self._runs.forget(record.identity)

    def _trial_run(self, record: RunRecord, sweep: str, label: str) -> Run:
        existing = self._runs.find(record.identity)
        if existing:
            return existing
        # An active run of this trial is of an archived folder: only the rerun shall be shown.
        for old in self._active_runs(dict(record.identity)["trial_id"]):
            self._runs.delete(old)
        declaration = self._declaration(sweep)
        tags = {
            **record.origin,
            **user_tag(declaration),
            **source_tags(declaration),
            "mlflow.parentRunId": self._sweep_run(sweep).run_id,
        }
        return self._runs.create(label, record.identity, tags, record.created)

    def _active_runs(self, trial_id: str) -> list[Run]:
        runs = self._runs.search([("trial_id", trial_id)])
        return [run for run in runs if not run.deleted]

    def _update(self, run: Run, record: RunRecord, sweep: str) -> None:
        """Log the missing epochs, parameters and measures, and the tags.

        MLflow's metric rows are unique in (key, timestamp, step, value), and all four come from the
        store. Rows that were written before a crash are therefore overwritten, not duplicated.
        """
        logged = int(run.tags.get(_LOGGED, 0))
        rows: list[Row] = [row for epoch in record.epochs[logged:] for row in epoch]
        if not {row[0] for row in record.measures} <= run.metrics:
            rows += record.measures
        tags = {**record.tags, f"sweep.{sweep}": "member"}
        if record.epochs:
            tags[_LOGGED] = str(len(record.epochs))
        # Tags are written last, so a run without a state may lack its parameters.
        self._runs.log(run, {} if "state" in run.tags else record.params, rows, tags)
        for name in _MAYBE_ABSENT:
            if name not in tags:
                self._runs.delete_tag(run, name)
        self._runs.set_status(run, MEANING[record.state].mlflow, record.updated)

    def _mark_damaged(self, trial_id: str, reason: str) -> None:
        """Mark a trial's run, if it has one, as damaged."""
        for run in self._active_runs(trial_id):
            self._runs.log(
                run, {}, [], {"state": State.DAMAGED.value, "error": reason[:LONGEST_MESSAGE]}
            )
            self._runs.set_status(run, MEANING[State.DAMAGED].mlflow, None)
            self._runs.forget(trial_identity(trial_id, run.tags["care.created"]))


def _versions(trials: Iterable[TrackedTrial]) -> dict[str, str]:
    """Map each started trial to its version."""
    return {trial.folder.trial_id: trial.version for trial in trials if trial.version}


def _digest(versions: dict[str, str]) -> str:
    return _short_digest([_CONTENT_VERSION, sorted(versions.items())])


def _short_digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
