"""Measure the disk usage of a store by kind and by sweep; each file counts once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from care.trials.find import TRIAL_ID, list_trials
from care.trials.reference import FOLDER
from sweeps.disk.garbage import Findings, GarbageSearch, Policy
from sweeps.disk.membership import Membership, read_membership
from sweeps.disk.scan import SET_ASIDE, TEMPORARY, Kind, TrialFiles, entries, measure, scan_trial
from sweeps.store import Store

SHARED, NO_SWEEP = "(several sweeps)", "(no sweep)"
_CACHE = ".care-cache"


@dataclass
class SweepUsage:
    """The files of a sweep that no other sweep has.

    Attributes:
        bytes: Bytes of its trials and of its own folder.
        trials: Number of started trials.
        frees: Bytes that a garbage collection frees.
    """

    bytes: int = 0
    trials: int = 0
    frees: int = 0


@dataclass
class Usage:
    """The disk usage of a store.

    Attributes:
        kinds: Bytes by kind.
        frees: Bytes by kind that a garbage collection with its defaults frees.
        sweeps: Usage by name; trials of several sweeps and of none have entries of their own.
        caches: Bytes of the data cache by data root; no part of the store.
        unreadable: Reason by name of each sweep that cannot be read; its trials count as of none.
    """

    kinds: Counter[Kind] = field(default_factory=Counter)
    frees: Counter[Kind] = field(default_factory=Counter)
    sweeps: dict[str, SweepUsage] = field(default_factory=dict)
    caches: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """All bytes of the store."""
        return self.kinds.total()


def scan_trials(store: Store) -> dict[str, TrialFiles]:
    """Measure the files of every trial, by identity."""
    return {
        folder.trial_id: scan_trial(folder.path)
        for folder in list_trials(store.trials)
        if folder.path.is_dir()
    }


def measure_usage(store: Store) -> Usage:
    """Measure a store. No file of a trial is read but the status of those with checkpoints."""
    membership = read_membership(store)
    scanned = scan_trials(store)
    garbage = GarbageSearch(store, Policy(), membership).search(scanned.items())
    usage = Usage(unreadable=membership.unreadable)
    names = {
        identity: sweeps[0] if len(sweeps) == 1 else SHARED
        for identity, sweeps in membership.sweeps_of().items()
    }
    for identity, files in scanned.items():
        row = _row(usage, names.get(identity, NO_SWEEP))
        row.bytes += files.bytes
        row.trials += 1
        row.frees += sum(each.frees for each in garbage.trials.get(identity, ()))
        usage.kinds.update(files.sizes)
    _add_sweeps(usage, store, garbage)
    _add_rest(usage, store)
    for each in garbage.all():
        usage.frees[each.kind] += each.frees
    usage.caches = _measure_caches(membership)
    return usage


def _row(usage: Usage, name: str) -> SweepUsage:
    return usage.sweeps.setdefault(name, SweepUsage())


def _add_sweeps(usage: Usage, store: Store, garbage: Findings) -> None:
    """Add the sweeps' own folders."""
    for folder in entries(store.root / "sweeps"):
        row = _row(usage, folder.name)
        row.frees += sum(each.frees for each in garbage.sweeps.get(folder.name, ()))
        for entry in entries(folder.path):
            for kind, size in _sweep_sizes(entry):
                usage.kinds[kind] += size
                row.bytes += size


def _sweep_sizes(entry: os.DirEntry[str]) -> Iterator[tuple[Kind, int]]:
    """Measure a part of a sweep's folder by kind."""
    if entry.name == "pool":
        for inner in entries(entry.path):
            yield Kind.CODE if inner.name == "code" else Kind.LOGS, measure(inner).bytes
        return
    known = {"report": Kind.REPORTS, "code": Kind.CODE}
    kind = known.get(entry.name) or _leftover_or(entry.name, Kind.LOGS)
    yield kind, measure(entry).bytes


def _leftover_or(name: str, kind: Kind) -> Kind:
    is_leftover = TEMPORARY.fullmatch(name) or SET_ASIDE.fullmatch(name)
    return Kind.LEFTOVERS if is_leftover else kind


def _add_rest(usage: Usage, store: Store) -> None:
    """Add what belongs to no trial and no sweep."""
    for entry in entries(store.root):
        if entry.name == "archive":
            usage.kinds[Kind.ARCHIVE] += measure(entry).bytes
        elif entry.name == FOLDER:
            usage.kinds[Kind.REFERENCES] += measure(entry).bytes
        elif entry.name not in ("trials", "sweeps"):
            kind = Kind.MLFLOW if entry.name.startswith("mlflow") else Kind.OTHER
            usage.kinds[_leftover_or(entry.name, kind)] += measure(entry).bytes
    for entry in entries(store.trials):
        if not (entry.is_dir() and TRIAL_ID.fullmatch(entry.name)):
            usage.kinds[_leftover_or(entry.name, Kind.OTHER)] += measure(entry).bytes


def _measure_caches(membership: Membership) -> dict[str, int]:
    sizes = {
        str(root): sum(measure(entry).bytes for entry in entries(root / _CACHE))
        for root in sorted(membership.data_roots)
    }
    return {root: size for root, size in sizes.items() if size}
