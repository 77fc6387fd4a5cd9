"""Delete MLflow's runs of trials and sweeps that were deleted in the store.

MLflow keeps deleted runs until they are purged. A trial or sweep that is started again gets a new
run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from care.errors import CareError
from care.trials.records import SweepRecord
from sweeps.deletions import DeletionRecord, read_deletions
from sweeps.store import Store
from sweeps.tracking.logged_models import LoggedModels
from sweeps.tracking.run import Run
from sweeps.tracking.run_cache import RunCache
from sweeps.tracking.run_record import trial_identity
from sweeps.tracking.sweep_page import SweepPage
from sweeps.tracking.sweep_views import member_tag

_CREATED, _PARENT = "care.created", "mlflow.parentRunId"
# Tag of a run that was deleted because its sweep was, with the time of the sweep's first start.
_FOLLOWED = "care.deleted"


def follow_deletions(runs: RunCache, store: Store) -> None:
    """Delete the runs of trials and sweeps that the store's log of deletions names.

    Each line is followed once for each server or file, which keeps their number as a tag. The
    caller holds the destination's lock.

    Args:
        runs: The store's runs.
        store: The store.
    """
    deletions = read_deletions(store.root)
    done = runs.deletions_done if deletions else 0
    if done == len(deletions):
        return
    every = [run for run in runs.search_all() if not run.deleted]
    new = deletions[done:] if done < len(deletions) else deletions
    models = LoggedModels(runs)
    _delete_trials(runs, models, store, every, new)
    for deletion in new:
        if deletion.sweep:
            _delete_sweep(runs, models, store, every, deletion)
    runs.deletions_done = len(deletions)


def is_followed(run: Run) -> bool:
    """Check whether a run was deleted because its sweep was deleted in the store."""
    return run.deleted and _FOLLOWED in run.tags


def sweep_created(declaration: SweepRecord | None) -> dict[str, str]:
    """Make the tag by which the runs of two sweeps with one name differ."""
    return {_CREATED: declaration.created} if declaration and declaration.created else {}


def _delete_trials(
    runs: RunCache,
    models: LoggedModels,
    store: Store,
    every: list[Run],
    deletions: Iterable[DeletionRecord],
) -> None:
    gone = {
        trial_identity(trial, created)
        for deletion in deletions
        for trial, created in deletion.trials.items()
        if not _is_there(store, trial, created)
    }
    for run in every:
        identity = tuple((name, run.tags.get(name, "")) for name, _ in trial_identity("", ""))
        without_time = tuple((name, "" if name == _CREATED else tag) for name, tag in identity)
        if {identity, without_time} & gone:
            runs.delete(run)
            runs.forget(identity)
            models.forget_trial(run)


def _is_there(store: Store, trial: str, created: str) -> bool:
    """Check for a trial that its deletion, which was killed, left in the store."""
    with contextlib.suppress(CareError):
        record = store.trial(trial).read_trial()
        return record is not None and (not created or record.created == created)
    return store.trial(trial).path.is_dir()


def _delete_sweep(
    runs: RunCache, models: LoggedModels, store: Store, every: list[Run], deletion: DeletionRecord
) -> None:
    with contextlib.suppress(CareError):
        declaration = store.sweep(deletion.sweep).read()
        if declaration and declaration.created == deletion.created:
            return  # its deletion was killed
    sweeps = {run.tags["sweep"]: run for run in every if run.tags.get("care.kind") == "sweep"}
    run = sweeps.pop(deletion.sweep, None)
    if run is None or run.tags.get(_CREATED, deletion.created) != deletion.created:
        return
    for other in every:
        if not other.deleted and member_tag(deletion.sweep) in other.tags:
            _leave(runs, other, deletion.sweep, run, sweeps)
    models.leave(deletion.sweep, ())
    runs.log(run, {}, [], {_FOLLOWED: deletion.created or "yes"})
    runs.delete(run)
    SweepPage(runs).remove_views(deletion.sweep)
    runs.forget((("sweep", deletion.sweep), ("care.kind", "sweep")))


def _leave(runs: RunCache, run: Run, sweep: str, parent: Run, sweeps: dict[str, Run]) -> None:
    """Move the run of a trial that another sweep has below that sweep's run."""
    runs.delete_tag(run, member_tag(sweep))
    if run.tags.get(_PARENT) == parent.run_id:
        names = [name for name in sweeps if member_tag(name) in run.tags]
        if names:
            runs.log(run, {}, [], {_PARENT: sweeps[names[0]].run_id})
