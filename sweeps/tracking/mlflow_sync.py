"""The sync of MLflow's runs with the store's files, a sweep or a trial at a time."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from care.errors import CareError
from care.trials.records import SweepRecord
from care.trials.reference import references_of
from care.trials.state import RecordedState, State
from sweeps.process.lock import locked
from sweeps.spec.sweep import Sweep
from sweeps.states import MEANING
from sweeps.store import Store
from sweeps.tracking.answer import SweepAnswer
from sweeps.tracking.deleted_runs import follow_deletions, is_followed, sweep_created
from sweeps.tracking.marks import (
    LAYOUT,
    NOTE,
    is_old,
    kept_tags,
    new_marks,
    read_marks,
    set_marks,
    short_digest,
)
from sweeps.tracking.reference_runs import write_reference_runs
from sweeps.tracking.run import Identity, Run
from sweeps.tracking.run_cache import RunCache
from sweeps.tracking.run_record import TrackedTrial, milliseconds, read_record
from sweeps.tracking.source_tags import source_tags, user_tag
from sweeps.tracking.sweep_page import SweepPage
from sweeps.tracking.sweep_views import member_tag
from sweeps.tracking.tracking_uri import destination_of
from sweeps.tracking.trial_runs import TrialRuns

FACTS = ("mixed", "stopped", "hours")
"""Tags of a sweep's run: facts in which its trials differ, why it stopped early, its hours."""


class MlflowSync:
    """Syncs MLflow's runs with the store, a sweep or a trial at a time.

    Every method may raise any error of MLflow; the store never depends on MLflow. Runs of other
    stores, and runs that were deleted in MLflow, are never changed.

    Args:
        store: Root of the store.
        uri: MLflow's tracking URI; by default an SQLite file in the store.

    Attributes:
        destination: The server or file.
        runs: The store's runs, for the holder of :meth:`writing`.
    """

    def __init__(self, store: Path, uri: str | None = None) -> None:
        self.store = store
        self.destination = destination_of(store, uri)
        self.runs = RunCache(store, self.destination)
        self._page = SweepPage(self.runs)
        self._trials = TrialRuns(self.runs)
        self._written: dict[tuple[str, str], str] = {}
        self._attached: dict[str, list[Path]] = {}
        self._deletions_followed = False

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of the processes that write to the destination.

        Processes that open a new SQLite file at one time make each other crash. Two processes that
        search for a trial's run at one time would both create it.
        """
        with locked(self.destination.lock, in_store=self.destination.in_store):
            if self.runs.renew():
                self._written.clear()
                self._deletions_followed = False
            try:
                if not self._deletions_followed:
                    follow_deletions(self.runs, Store(self.store))
                    self._deletions_followed = True
                yield
            except BaseException as error:
                self.runs.suspect(error)
                raise

    def sync_sweep(
        self,
        name: str,
        description: str,
        state: RecordedState = State.RUNNING,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        """Create or update the parent run of a sweep; a description that a user edited is kept.

        Args:
            name: The sweep's name.
            description: The sweep's description, until :meth:`sync_answer` writes the answer.
            state: The sweep's state.
            facts: Tags of :data:`FACTS`; an empty one is removed. None keeps those of the run.
        """

        def update(run: Run) -> None:
            tags = source_tags(self._declaration(name))
            tags |= {tag: text for tag, text in (facts or {}).items() if text}
            self.runs.log(run, {}, [], {**tags, **self._note(run, description)})
            for tag in (facts or {}).keys() - tags.keys():
                self.runs.delete_tag(run, tag)
            self.runs.set_status(run, MEANING[state].mlflow, None)

        with self.writing():
            self.on_sweep(name, update)

    def follow_deletions(self) -> None:
        """Delete the runs of what was deleted in the store."""
        with self.writing():
            pass

    def recall(self, sweep: str, trials: Iterable[TrackedTrial]) -> bool:
        """Cache MLflow's runs of a sweep's trials, in a few calls.

        Returns:
            Whether MLflow has everything: these versions of the trials were confirmed.
        """
        versions = _versions(trials)
        with self.writing():
            if read_marks(self.sweep_run(sweep)).get("trials") == _digest(versions):
                self._written |= {(sweep, trial): version for trial, version in versions.items()}
                return True
            found = self.runs.search([(member_tag(sweep), None)])
            # A run that is about to replace an old one is not a member yet: see RunCache.find.
            runs = [run for run in found if run.deleted or not is_old(run)]
            for run in sorted(runs, key=lambda run: not run.deleted):
                names = ("trial_id", "care.kind", "care.created")
                self.runs.remember(tuple((name, run.tags.get(name, "")) for name in names), run)
        return False

    def confirm(self, sweep: str, trials: Iterable[TrackedTrial]) -> None:
        """Record in MLflow that a sweep's trials are complete there, if all were synced."""
        versions = _versions(trials)
        digest = _digest(versions)
        if all(self._written.get((sweep, trial)) == version for trial, version in versions.items()):
            with self.writing():
                self.on_sweep(
                    sweep, lambda run: self.runs.log(run, {}, [], set_marks(run, trials=digest))
                )

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
        complete = True
        with self.writing():
            if record:
                parent = self.sweep_run(sweep).run_id
                declaration = self._declaration(sweep)
                complete = self._trials.write(record, sweep, parent, trial.label, declaration)
            else:
                self._trials.mark_damaged(trial.folder.trial_id, reason)
        if complete:
            self._written[key] = trial.version
        return True

    def sync_answer(self, sweep: str, key: str, read: Callable[[], SweepAnswer]) -> bool:
        """Write the answer of a sweep to its run, and the views and the index that link to it.

        Args:
            sweep: The sweep's name.
            key: Digest of the answer's inputs.
            read: Reads the answer; called only if the run has that of other inputs.

        Returns:
            Whether the answer was written.
        """
        with self.writing():
            run = self.sweep_run(sweep)
            # The report's link is a part of the description.
            key = short_digest([LAYOUT, key, read_marks(run).get("report", "")])
            if run.deleted or read_marks(run).get("answer") == key:
                return False
        answer, declaration = read(), self._declaration(sweep)
        with self.writing():
            self.on_sweep(sweep, lambda run: self._write_answer(run, answer, declaration, key))
        return True

    def _write_answer(
        self, run: Run, answer: SweepAnswer, declaration: SweepRecord | None, key: str
    ) -> None:
        if self._page.contradicts(run, answer):
            run = self._replace_sweep_run(run, declaration)
            self._send(run, self._attached.get(run.tags["sweep"], []))
        time = _started(declaration) or 0
        self._page.write(run, answer, declaration, time, key)
        self._page.write_views(run.tags["sweep"], answer)

    def sync_references(self, sweep: Sweep) -> None:
        """Write the runs of the encoders from outside that stand beside a sweep's trials."""
        name, store = sweep.spec.name, Store(self.store)
        if references_of(self.store).is_dir():
            with self.writing():
                write_reference_runs(self.runs, sweep, store, self.sweep_run(name).run_id)

    def attach(self, sweep: str, files: list[Path]) -> None:
        """Attach files, e.g. the report, to the sweep's run, unless it has them."""
        self._attached[sweep] = files
        with self.writing():
            self.on_sweep(sweep, lambda run: self._send(run, files))

    def _send(self, run: Run, files: list[Path]) -> None:
        content = [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]
        digest = short_digest(content) if files else ""
        if read_marks(run).get("report", "") == digest and all(
            self.runs.has_artifact(run, f"report/{file.name}") for file in files
        ):
            return
        if self.runs.log_files(run, {f"report/{file.name}": file.read_bytes() for file in files}):
            self.runs.log(run, {}, [], set_marks(run, report=digest))

    def _declaration(self, sweep: str) -> SweepRecord | None:
        with contextlib.suppress(CareError):
            return Store(self.store).sweep(sweep).read()
        return None

    def sweep_run(self, name: str) -> Run:
        """Find or create the run of a sweep."""
        identity = _identity(name)
        existing = self.runs.find(identity)
        if existing and not is_followed(existing) and (existing.deleted or not is_old(existing)):
            return existing
        declaration = self._declaration(name)
        if existing and not existing.deleted:
            return self._replace_sweep_run(existing, declaration)
        tags = {**_origin(declaration), **new_marks()}
        return self.runs.create(name, identity, tags, _started(declaration))

    def _replace_sweep_run(self, old: Run, declaration: SweepRecord | None) -> Run:
        self.runs.refresh(old)  # a reviewer may have added to it
        name = old.tags["sweep"]
        tags = {
            **user_tag(declaration),
            **source_tags(declaration),
            **new_marks(),
            **kept_tags(old),
        }
        tags |= {name: old.tags[name] for name in FACTS if name in old.tags}
        new = self.runs.replace(old, name, _identity(name), tags, _started(declaration))
        self.runs.set_status(new, old.status, None)
        return new

    def on_sweep(self, name: str, change: Callable[[Run], None]) -> None:
        """Change the run of a sweep, unless it is deleted in MLflow."""
        self.runs.change(_identity(name), self.sweep_run(name), change)

    def _note(self, run: Run, text: str) -> dict[str, str]:
        """Make the tags of a description; empty if a user edited it, or if it is the answer."""
        marks = read_marks(run)
        if not text or "answer" in marks or marks.get("note") == short_digest(text):
            return {}
        if NOTE in run.tags:
            self.runs.refresh(run)
        current = run.tags.get(NOTE)
        if current is not None and short_digest(current) != marks.get("note"):
            return {}
        return {NOTE: text, **set_marks(run, note=short_digest(text))}


def _identity(sweep: str) -> Identity:
    return (("sweep", sweep), ("care.kind", "sweep"))


def _origin(declaration: SweepRecord | None) -> dict[str, str]:
    return {
        **user_tag(declaration),
        **source_tags(declaration),
        **sweep_created(declaration),
    }


def _started(declaration: SweepRecord | None) -> int | None:
    """Return the time of a sweep's first start in milliseconds since 1970; None if unknown."""
    return milliseconds(declaration.created) if declaration and declaration.created else None


def _versions(trials: Iterable[TrackedTrial]) -> dict[str, str]:
    """Map each started trial to its version."""
    return {trial.folder.trial_id: trial.version for trial in trials if trial.version}


def _digest(versions: dict[str, str]) -> str:
    return short_digest([LAYOUT, sorted(versions.items())])
