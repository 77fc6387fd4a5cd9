"""From the store's files to MLflow's runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from care.errors import CareError
from care.trials.state import RecordedState, State
from sweeps.process.lock import locked
from sweeps.states import MEANING
from sweeps.store import Store
from sweeps.tracking.destination import destination_of
from sweeps.tracking.origin import source_tags, user_tag
from sweeps.tracking.run_cache import Identity, Row, Run, Runs
from sweeps.tracking.trial_record import (
    LONGEST_MESSAGE,
    Record,
    TrackedTrial,
    read_record,
    trial_identity,
)

_LOGGED, _CONFIRMED, _REPORT = "care.epochs_logged", "care.confirmed", "care.report"
_NOTE, _NOTE_DIGEST = "mlflow.note.content", "care.note"
_MAYBE_ABSENT = ("error", "stale_reason")
# What MLflow answers to a write to a deleted run.
_REFUSED = ("INVALID_PARAMETER_VALUE", "INVALID_STATE")
# Counts changes of what runs hold: what an older version confirmed is looked at again.
_SCHEME = 2


class Projection:
    """Brings MLflow up to date with the store, a sweep or a trial at a time.

    Every method may raise what MLflow raises; nothing of the store depends on it. Runs that other
    stores wrote are never touched, and neither are runs that were deleted in MLflow.

    Args:
        store: Root of the store.
        uri: Where MLflow keeps runs; by default an SQLite file in the store.
        say: Called with lines for the user.
    """

    def __init__(
        self, store: Path, uri: str | None = None, say: Callable[[str], None] = print
    ) -> None:
        self.store = store
        self.destination = destination_of(store, uri)
        self._say = say
        self._runs = Runs(store, self.destination, say)
        self._written: dict[tuple[str, str], str] = {}

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Be the only process of this store that writes to MLflow.

        Several processes that first open one SQLite file crash each other, and two that look for a
        trial's run at once would both make one.
        """
        with locked(self.destination.lock, self._say):
            if self._runs.renew():
                self._written.clear()
            try:
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
        """Make or update the parent run of a sweep; a description of a reviewer's stays.

        Args:
            name: The sweep's.
            description: Its own.
            state: Of the sweep.
            mixed: What its trials differ in, or ``no``; None leaves what the run has.
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
        """Learn what MLflow has of a sweep's trials, in a few calls.

        Returns:
            Whether it has everything: as they are now, they were confirmed.
        """
        versions = _versions(trials)
        with self._writing():
            if self._sweep_run(sweep).tags.get(_CONFIRMED) == _digest(versions):
                self._written |= {(sweep, trial): seen for trial, seen in versions.items()}
                return True
            found = self._runs.search([(f"sweep.{sweep}", "member")])
            for run in sorted(found, key=lambda run: not run.deleted):
                names = ("trial_id", "care.kind", "care.created")
                self._runs.remember(tuple((name, run.tags.get(name, "")) for name in names), run)
        return False

    def confirm(self, sweep: str, trials: Iterable[TrackedTrial]) -> None:
        """Note in MLflow that it has everything of a sweep's trials, if they were all synced."""
        versions = _versions(trials)
        tags = {_CONFIRMED: _digest(versions)}
        if all(self._written.get((sweep, trial)) == seen for trial, seen in versions.items()):
            with self._writing():
                self._on_sweep(sweep, lambda run: self._runs.log(run, {}, [], tags))

    def sync_trial(self, trial: TrackedTrial, sweep: str) -> bool:
        """Make or update the child run of a trial; what it has already is not written again.

        Args:
            trial: The trial; one that was never started has no run.
            sweep: Name of the sweep that asks. The first one is the run's parent; the others are
                noted as tags ``sweep.<name>``.

        Returns:
            Whether MLflow had to be asked.
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
        """Put files, e.g. the report, on the sweep's run; those that it has are not sent again."""
        content = [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]
        digest = _short_digest(content)

        def send(run: Run) -> None:
            there = all(self._runs.attached(run, f"report/{file.name}") for file in files)
            if run.tags.get(_REPORT) == digest and there:
                return
            for file in files:
                self._runs.client.log_artifact(run.run_id, str(file), artifact_path="report")
            self._runs.log(run, {}, [], {_REPORT: digest})

        with self._writing():
            self._on_sweep(sweep, send)

    def _declaration(self, sweep: str) -> dict[str, object]:
        with contextlib.suppress(CareError):
            return Store(self.store).sweep(sweep).read() or {}
        return {}

    def _sweep_run(self, name: str) -> Run:
        identity = (("sweep", name), ("care.kind", "sweep"))
        found = self._runs.find(identity)
        if found:
            return found
        declaration = self._declaration(name)
        tags = {**user_tag(declaration), **source_tags(declaration)}
        return self._runs.create(name, identity, tags)

    def _on_sweep(self, name: str, change: Callable[[Run], None]) -> None:
        self._change((("sweep", name), ("care.kind", "sweep")), self._sweep_run(name), change)

    def _change(self, identity: Identity, run: Run, change: Callable[[Run], None]) -> None:
        """Change a run, unless it was deleted in MLflow, perhaps a moment ago."""
        if run.deleted:
            return
        try:
            change(run)
        except BaseException as error:
            self._runs.forget(identity)
            if getattr(error, "error_code", "") not in _REFUSED:
                raise
            now = self._runs.find(identity)
            if now is None or not now.deleted:
                self._runs.forget(identity)
                raise

    def _note(self, run: Run, text: str) -> dict[str, str]:
        """Tags of the description: none where the run has one that is not as we wrote it."""
        ours = {_NOTE: text, _NOTE_DIGEST: _short_digest(text)}
        if not text or run.tags.get(_NOTE_DIGEST) == ours[_NOTE_DIGEST]:
            return {}
        if _NOTE in run.tags:
            self._runs.refresh(run)
        found = run.tags.get(_NOTE)
        untouched = found is None or _short_digest(found) == run.tags.get(_NOTE_DIGEST)
        return ours if untouched else {}

    def _write(self, record: Record, sweep: str, label: str) -> None:
        run = self._trial_run(record, sweep, label)
        self._change(record.identity, run, lambda run: self._update(run, record, sweep))
        if record.state == State.FINISHED:
            self._runs.forget(record.identity)

    def _trial_run(self, record: Record, sweep: str, label: str) -> Run:
        found = self._runs.find(record.identity)
        if found:
            return found
        # The trial was archived and is run anew: MLflow shows its old run under "deleted" only.
        for old in self._active(dict(record.identity)["trial_id"]):
            self._runs.delete(old)
        declaration = self._declaration(sweep)
        tags = {
            **record.origin,
            **user_tag(declaration),
            **source_tags(declaration),
            "mlflow.parentRunId": self._sweep_run(sweep).run_id,
        }
        return self._runs.create(label, record.identity, tags, record.created)

    def _active(self, trial_id: str) -> list[Run]:
        found = self._runs.search([("trial_id", trial_id)])
        return [run for run in found if not run.deleted]

    def _update(self, run: Run, record: Record, sweep: str) -> None:
        """Log the epochs that the run has not, once the parameters and measures, and the tags.

        The rows of a metric are unique in (key, timestamp, step, value), and all of these come from
        the store: rows that a crash kept from being noted are written over, not twice.
        """
        logged = int(run.tags.get(_LOGGED, 0))
        rows: list[Row] = [row for epoch in record.epochs[logged:] for row in epoch]
        if not {row[0] for row in record.measures} <= run.metrics:
            rows += record.measures
        tags = {**record.tags, f"sweep.{sweep}": "member"}
        if record.epochs:
            tags[_LOGGED] = str(len(record.epochs))
        # Tags are written last: a run without a state may lack its parameters as well.
        self._runs.log(run, {} if "state" in run.tags else record.params, rows, tags)
        for name in _MAYBE_ABSENT:
            if name not in tags:
                self._runs.delete_tag(run, name)
        self._runs.set_status(run, MEANING[record.state].mlflow, record.updated)

    def _mark_damaged(self, trial_id: str, reason: str) -> None:
        """Mark a trial's run, if it has one, as damaged."""
        for run in self._active(trial_id):
            self._runs.log(
                run, {}, [], {"state": State.DAMAGED.value, "error": reason[:LONGEST_MESSAGE]}
            )
            self._runs.set_status(run, MEANING[State.DAMAGED].mlflow, None)
            self._runs.forget(trial_identity(trial_id, run.tags["care.created"]))


def _versions(trials: Iterable[TrackedTrial]) -> dict[str, str]:
    """By trial, of those that were ever started."""
    return {trial.folder.trial_id: trial.version for trial in trials if trial.version}


def _digest(versions: dict[str, str]) -> str:
    return _short_digest([_SCHEME, sorted(versions.items())])


def _short_digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
