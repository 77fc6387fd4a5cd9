"""The runs of trials, written from their records."""

from __future__ import annotations

from typing import Any

from care.trials.records import SweepRecord
from care.trials.state import State
from sweeps.states import MEANING
from sweeps.tracking import links
from sweeps.tracking.marks import (
    NOTE,
    is_old,
    kept_tags,
    new_marks,
    read_marks,
    set_marks,
    short_digest,
)
from sweeps.tracking.run import Identity, Row, Run
from sweeps.tracking.run_cache import RunCache
from sweeps.tracking.run_record import LONGEST_MESSAGE, RunRecord, trial_identity
from sweeps.tracking.source_tags import source_tags, user_tag
from sweeps.tracking.sweep_views import ViewNames, held_tag, member_tag

_MAYBE_ABSENT = ("error", "stale_reason")
_PARENT = "mlflow.parentRunId"


class TrialRuns:
    """Writes the runs of trials, for the holder of the destination's lock.

    Args:
        runs: The store's runs.
    """

    def __init__(self, runs: RunCache) -> None:
        self._runs = runs

    def write(
        self,
        record: RunRecord,
        sweep: str,
        parent: str,
        label: str,
        declaration: SweepRecord | None,
    ) -> bool:
        """Create or update the run of a trial, and return whether it has its files as well.

        Args:
            record: The content of the run.
            sweep: Name of a sweep with this trial.
            parent: The run of that sweep, which a new run gets as its parent.
            label: Name of a new run.
            declaration: The record of that sweep; None if it cannot be read.
        """
        run = self._find_or_create(record, sweep, parent, label, declaration)
        self._runs.change(record.identity, run, lambda run: self._update(run, record, sweep))
        if record.state == State.FINISHED:
            self._runs.forget(record.identity)
        return run.deleted or not _lacks_files(run, record)

    def _find_or_create(
        self,
        record: RunRecord,
        sweep: str,
        parent: str,
        label: str,
        declaration: SweepRecord | None,
    ) -> Run:
        existing, active = self._find(record.identity)
        if existing and (existing.deleted or not is_old(existing)):
            return existing
        note = self._describe(record, sweep, label)
        tags = {
            # Cheaper here than later; the state is the last thing written.
            **{name: value for name, value in record.tags.items() if name != "state"},
            **record.origin,
            **user_tag(declaration),
            **source_tags(declaration),
            NOTE: note,
            _PARENT: parent,
            **new_marks(note=short_digest(note)),
        }
        if existing:  # of an older version, whose measures are at another step
            self._runs.refresh(existing)
            tags |= {_PARENT: existing.tags.get(_PARENT, parent), **kept_tags(existing)}
            return self._runs.replace(existing, label, record.identity, tags, record.created)
        # An active run of this trial is of an archived folder: only the rerun shall be shown.
        for old in active:
            self._runs.delete(old)
        return self._runs.create(label, record.identity, tags, record.created)

    def _find(self, identity: Identity) -> tuple[Run | None, list[Run]]:
        """Find the run of a trial, and without one the active runs of its archived folders."""
        known = self._runs.known(identity)
        if known:
            return known, []
        found = self._runs.search(identity[:1])
        return self._runs.find_in(found, identity), [run for run in found if not run.deleted]

    def _describe(self, record: RunRecord, sweep: str, label: str) -> str:
        trial = dict(record.identity)["trial_id"]
        names, experiment = ViewNames(self._runs.store_uuid), self._runs.experiment
        charts = links.view_page(experiment, names.by_axis(sweep))
        every = links.view_page(experiment, names.trials(sweep))
        return (
            f"**{label}** of {sweep}: [charts]({charts}) · [every trial]({every})\n\n"
            f"Folder in the store: `trials/{trial}/`\n\n"
            f'Load its encoder: `care.load("{trial}")`\n\n'
            f"Evaluate it with other settings: `care evaluate {trial}`"
        )

    def _active_runs(self, trial_id: str) -> list[Run]:
        runs = self._runs.search([("trial_id", trial_id)])
        return [run for run in runs if not run.deleted]

    def _update(self, run: Run, record: RunRecord, sweep: str) -> None:
        """Log the missing epochs, parameters and measures, and the tags.

        MLflow's metric rows are unique in (key, timestamp, step, value), and all four come from the
        store. Rows that were written before a crash are therefore overwritten, not duplicated.
        """
        marks = read_marks(run)
        rows: list[Row] = [
            row for epoch in record.epochs[marks.get("epochs", 0) :] for row in epoch
        ]
        if not {row[0] for row in record.measures} <= run.metrics:
            rows += record.measures
        member = member_tag(sweep)
        tags = {**record.tags, member: record.origin["point"] or "all"}
        held = held_tag(sweep)
        tags |= {held: record.held} if record.held else {}
        changes: dict[str, Any] = {"epochs": len(record.epochs), **self._log_files(run, record)}
        # Tags are written last, so a run without a sweep's tag may lack its parameters.
        params = {} if member in run.tags else record.params
        self._runs.log(run, params, rows, {**tags, **set_marks(run, **changes)})
        for name in (*_MAYBE_ABSENT, held):
            if name not in tags:
                self._runs.delete_tag(run, name)
        self._runs.set_status(run, MEANING[record.state].mlflow, record.updated)

    def _log_files(self, run: Run, record: RunRecord) -> dict[str, str]:
        """Log files and data sets when the trial ended; return the marks."""
        if not _lacks_files(run, record) or not self._runs.log_files(run, record.files):
            return {}
        self._runs.log_datasets(run, record.datasets)
        return {"files": short_digest(record.files)}

    def mark_damaged(self, trial_id: str, reason: str) -> None:
        """Mark a trial's run, if it has one, as damaged."""
        for run in self._active_runs(trial_id):
            self._runs.log(
                run, {}, [], {"state": State.DAMAGED.value, "error": reason[:LONGEST_MESSAGE]}
            )
            self._runs.set_status(run, MEANING[State.DAMAGED].mlflow, None)
            self._runs.forget(trial_identity(trial_id, run.tags["care.created"]))


def _lacks_files(run: Run, record: RunRecord) -> bool:
    """Check whether a trial has ended, so that its run gets files, and they are not there."""
    missing = read_marks(run).get("files") != short_digest(record.files)
    return MEANING[record.state].over and missing
