"""The runs of references: encoders from outside, measured on a sweep's data."""

from __future__ import annotations

import contextlib

from care.errors import CareError
from care.trials.reference import list_references, read_reference
from sweeps.references import read_references
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from sweeps.tracking.marks import new_marks
from sweeps.tracking.run import Identity, Row, Run
from sweeps.tracking.run_cache import RunCache
from sweeps.tracking.run_record import milliseconds
from sweeps.tracking.sweep_views import member_tag

_KIND = ("care.kind", "reference")
_IDENTITY = ("care.reference", "care.kind", "care.created")
_PARENT = "mlflow.parentRunId"
_SHOWN = ("architecture", "weights", "sha256")


def write_reference_runs(runs: RunCache, sweep: Sweep, store: Store, parent: str) -> None:
    """Write the runs of a sweep's references, and delete those of references that are gone.

    The caller holds the destination's lock.

    Args:
        runs: The store's runs.
        sweep: The sweep.
        store: The store.
        parent: The sweep's run, the parent of new runs.
    """
    known = {
        tuple((name, run.tags.get(name, "")) for name in _IDENTITY): run
        for run in runs.search([_KIND])
    }
    for reference, reason in read_references(sweep, store):
        record = reference.record
        identity = (
            ("care.reference", record.reference_id),
            _KIND,
            ("care.created", record.created),
        )
        created = milliseconds(record.created)
        rows: list[Row] = [(name, value, created, 0) for name, value in reference.measures.items()]
        encoder = record.encoder.model_dump()
        params = {f"encoder.{name}": str(encoder[name]) for name in _SHOWN}
        tags = {member_tag(sweep.spec.name): "reference", "stale": reason or "no"}
        run = known.get(identity) or runs.create(
            record.encoder.label, identity, {_PARENT: parent, **new_marks()}, created
        )
        if run.deleted or all(run.tags.get(name) == value for name, value in tags.items()):
            continue
        _log(runs, run, params, rows, tags)
    _delete_gone(runs, store, known)


def _log(
    runs: RunCache,
    run: Run,
    params: dict[str, str],
    rows: list[Row],
    tags: dict[str, str],
) -> None:
    # Rows are unique in name, time, step and value, so that a second write adds nothing.
    runs.log(run, params, rows, tags)
    runs.set_status(run, "FINISHED", rows[0][2] if rows else None)


def _delete_gone(runs: RunCache, store: Store, known: dict[Identity, Run]) -> None:
    """Delete the runs of references that were deleted or measured again."""
    there = set()
    for path in list_references(store.root):
        with contextlib.suppress(CareError):  # a damaged one shows no number
            if reference := read_reference(path):
                there.add((path.name, reference.record.created))
    for identity, run in known.items():
        tags = dict(identity)
        if not run.deleted and (tags["care.reference"], tags["care.created"]) not in there:
            runs.delete(run)
