"""Delete sweeps and trials, and record that for MLflow."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from care.errors import CareError
from care.system.claim import Claim, holder
from care.system.files import DamagedFileError, DiskError
from care.system.permissions import make_folder
from care.trials.folder import TrialFolder
from sweeps.backends.slurm import commands
from sweeps.backends.slurm.state_files import PoolFolder
from sweeps.deletions import DeletionRecord, record_deletion
from sweeps.disk.membership import read_membership
from sweeps.disk.removal import discard, hidden_name, remove_tree
from sweeps.disk.scan import entries, measure, measure_below
from sweeps.inventory import ReferenceFolder, find_target
from sweeps.store import Store


@dataclass(frozen=True)
class Deletion:
    """A sweep, trial or reference to delete.

    Attributes:
        sweep: Name of the sweep; empty for a single trial.
        trials: Identities of the trials that go.
        shared: Names of the other sweeps by identity of each trial that stays.
        sweeps: Names of the sweeps that have the single trial, and show it as new afterwards.
        bytes: Bytes that it frees.
        reference: Folder of the reference; None for a sweep or trial.
    """

    sweep: str
    trials: tuple[str, ...]
    shared: dict[str, list[str]]
    sweeps: tuple[str, ...]
    bytes: int
    reference: Path | None = None


class InUseError(CareError):
    """A process trains what is to be deleted; nothing was deleted."""


def plan_deletion(name: str, store: Store) -> Deletion:
    """Determine what the deletion of a sweep, trial or reference removes; deletes nothing.

    Args:
        name: Name of a sweep, or the first digits of a trial or reference.
        store: The store.

    Raises:
        ConfigError: No sweep has this name, and not exactly one trial begins with it.
        CareError: The trial was never started. Or a sweep cannot be read, so that its trials are
            not known.
        InUseError: A process holds the sweep or one of the trials.
    """
    membership = read_membership(store)
    if membership.unreadable:
        bad, reason = next(iter(membership.unreadable.items()))
        raise CareError(f"the trials of sweep {bad} are not known, so nothing is deleted: {reason}")
    target = find_target(name, store)
    if isinstance(target, ReferenceFolder):
        return Deletion("", (), {}, (), measure_below(target.path), target.path)
    if isinstance(target, TrialFolder):
        having = tuple(membership.sweeps_of().get(target.trial_id, ()))
        deletion = Deletion("", (target.trial_id,), {}, having, measure_below(target.path))
    else:
        trials = membership.trials[target.name]
        deletion = _plan_sweep(target.name, store, membership.sweeps_of(), trials)
    _check_free(deletion, store)
    return deletion


def _plan_sweep(
    name: str, store: Store, sweeps: dict[str, list[str]], trials: frozenset[str]
) -> Deletion:
    started = sorted(trial for trial in trials if store.trial(trial).path.is_dir())
    own = tuple(trial for trial in started if sweeps[trial] == [name])
    shared = {
        trial: [other for other in sweeps[trial] if other != name]
        for trial in started
        if trial not in own
    }
    sizes = [measure_below(store.trial(trial).path) for trial in own]
    sizes.append(measure_below(store.sweep(name).path))
    return Deletion(name, own, shared, (), sum(sizes))


def _check_free(deletion: Deletion, store: Store) -> None:
    if deletion.sweep:
        _check_queue(deletion.sweep, store)
    folders = {trial: store.trial(trial).path for trial in deletion.trials}
    if deletion.sweep:
        folders[deletion.sweep] = store.sweep(deletion.sweep).path
    busy = {name: process for name, path in folders.items() if (process := holder(path))}
    for name, process in busy.items():
        kind = "sweep" if name == deletion.sweep else "trial"
        more = f", and {len(busy) - 1} more are in use" if len(busy) > 1 else ""
        raise InUseError(
            f"{kind} {name} is in use by {process}{more}; nothing was deleted. "
            "End the run first (Ctrl-C, or care sweep cancel), then repeat the command."
        )


def _check_queue(sweep: str, store: Store) -> None:
    """Refuse a sweep with jobs that run, wait or may be queued again: they need its folder."""
    pool = PoolFolder(store, sweep)
    if not pool.submitted or not commands.available():
        return
    names = (pool.job_name("head"), pool.job_name("worker"))
    queued = [job for name in names for job in commands.jobs_named(name)]
    jobs = [job.job_id for job in queued if job.present or job.completing]
    if jobs:
        raise InUseError(
            f"sweep {sweep} has jobs in SLURM's queue ({', '.join(jobs)}); nothing was deleted. "
            f"End them first: care sweep cancel {sweep}"
        )


class Deleter:
    """Deletes what :func:`plan_deletion` lists. Killed at any moment, a second call finishes.

    The sweep's own folder goes last, because it lists the trials.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def delete(self, deletion: Deletion) -> list[str]:
        """Delete trials, then the sweep.

        Returns:
            Trials that a process claimed meanwhile; they stay, and with them the sweep.

        Raises:
            InUseError: A process claimed the sweep meanwhile; nothing was deleted.
            DiskError: The store cannot be written.
        """
        self._remove_leftovers()
        if deletion.reference:
            discard(deletion.reference)
            return []
        if not deletion.sweep:
            return self._delete_trials(deletion.trials)
        sweep = self._store.sweep(deletion.sweep)
        claim = Claim.take(sweep.path)
        if claim is None:
            raise InUseError(f"sweep {sweep.name} was started meanwhile; nothing was deleted")
        with claim:
            left = self._delete_trials(deletion.trials)
            if not left:
                declaration = sweep.declaration()
                record_deletion(
                    self._store.root,
                    DeletionRecord(sweep=sweep.name, created=declaration.created),
                )
                self._remove(sweep.path, claim)
        return left

    def _delete_trials(self, trials: tuple[str, ...]) -> list[str]:
        folders = [self._store.trial(trial) for trial in trials]
        if not folders:
            return []
        # Recorded first: MLflow must not keep the run of a trial that was deleted before a crash.
        created = {folder.trial_id: _created(folder) for folder in folders}
        record_deletion(self._store.root, DeletionRecord(trials=created))
        return [folder.trial_id for folder in folders if not self._delete_trial(folder)]

    def _delete_trial(self, folder: TrialFolder) -> bool:
        if not folder.path.is_dir():
            return True
        claim = Claim.take(folder.path)
        if claim is None:
            return False
        with claim:
            self._remove(folder.path, claim)
        return True

    def _remove(self, folder: Path, claim: Claim) -> None:
        target = self._store.root / "archive" / hidden_name(folder.name)
        try:
            make_folder(target.parent)
            claim.move(target)
            remove_tree(target)
        except OSError as error:
            raise DiskError(folder, error) from error

    def _remove_leftovers(self) -> None:
        """Finish deletions that were killed."""
        for entry in entries(self._store.root / "archive"):
            if entry.name.startswith(".deleted-"):
                remove_tree(measure(entry).path)


def _created(folder: TrialFolder) -> str:
    """Return the time of a trial's first start; empty if its file is damaged."""
    with contextlib.suppress(DamagedFileError):
        trial = folder.read_trial()
        return trial.created if trial else ""
    return ""
