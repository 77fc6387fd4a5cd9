"""Find what a garbage collection removes. Changes nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from care.errors import CareError
from care.system.claim import holder
from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder
from care.trials.reference import references_of
from sweeps.backends.slurm.state_files import PoolFolder
from sweeps.disk.membership import Membership
from sweeps.disk.network_size import network_bytes
from sweeps.disk.scan import SET_ASIDE, TEMPORARY, DiskItem, Kind, TrialFiles, entries, measure
from sweeps.disk.units import DAY_SECONDS
from sweeps.revisions.snapshot import is_committed
from sweeps.spec.sweep import restore_sweep
from sweeps.store import Store

Keep = Literal["encoder", "all", "none"]
_KEPT_DAYS = 30
_ARCHIVED = re.compile(r"([0-9a-f]{16})-(\d{8}-\d{6}-\d{6})")
_STAMP = "%Y%m%d-%H%M%S-%f"


class What(StrEnum):
    """What goes, in words."""

    CHECKPOINTS = "checkpoints of finished trials"
    WEIGHTS = "weights of finished trials"
    PROGRESS = "progress of ended evaluations"
    ARCHIVED = "archived trials"
    SET_ASIDE = "damaged files that were kept"
    TEMPORARY = "files of ended processes"
    SNAPSHOTS = "code snapshots without a job"
    REVISIONS = "code snapshots that their sweep no longer names"


_KINDS = {
    What.CHECKPOINTS: Kind.CHECKPOINTS,
    What.PROGRESS: Kind.CHECKPOINTS,
    What.WEIGHTS: Kind.WEIGHTS,
    What.ARCHIVED: Kind.ARCHIVE,
    What.SET_ASIDE: Kind.LEFTOVERS,
    What.TEMPORARY: Kind.LEFTOVERS,
    What.SNAPSHOTS: Kind.CODE,
    What.REVISIONS: Kind.CODE,
}


@dataclass(frozen=True)
class Policy:
    """Rules of a garbage collection.

    Attributes:
        keep: What stays of a finished trial's network: ``encoder`` replaces the checkpoints by a
            weights file, ``none`` removes both, ``all`` keeps both.
        older: Seconds since something was finished, archived or set aside. None: any age for
            finished trials, 30 days for the archive and for files that were set aside.
        sweep: Name of the only sweep whose files go; None for all.
    """

    keep: Keep = "encoder"
    older: float | None = None
    sweep: str | None = None

    @property
    def kept_seconds(self) -> float:
        """Least age of archived trials and of files that were set aside."""
        return _KEPT_DAYS * DAY_SECONDS if self.older is None else self.older


@dataclass(frozen=True)
class Garbage:
    """A part of a folder that goes.

    Attributes:
        what: What it is.
        paths: The files and folders.
        frees: Bytes that it frees; an estimate where a weights file is still to be written.
    """

    what: What
    paths: tuple[Path, ...]
    frees: int

    @property
    def kind(self) -> Kind:
        """Its kind in the list of ``care store du``."""
        return _KINDS[self.what]


@dataclass
class Findings:
    """The garbage of a store.

    Attributes:
        trials: Garbage by the trial's identity; its claim is needed to remove it.
        sweeps: Garbage by the sweep's name; its claim is needed to remove it.
        rest: Garbage that no claim protects.
        busy: Trials and sweeps that a process holds, with the process.
    """

    trials: dict[str, list[Garbage]] = field(default_factory=dict)
    sweeps: dict[str, list[Garbage]] = field(default_factory=dict)
    rest: list[Garbage] = field(default_factory=list)
    busy: dict[str, str] = field(default_factory=dict)

    def all(self) -> Iterator[Garbage]:
        """Yield everything."""
        for parts in (*self.trials.values(), *self.sweeps.values()):
            yield from parts
        yield from self.rest

    @property
    def frees(self) -> int:
        """Bytes that all of it frees."""
        return sum(garbage.frees for garbage in self.all())


class GarbageSearch:
    """Searches a store for garbage.

    Args:
        store: The store.
        policy: The rules.
        membership: The sweeps' trials.
        now: Seconds since 1970 at which ages are measured; by default the present.
    """

    def __init__(
        self, store: Store, policy: Policy, membership: Membership, now: float | None = None
    ) -> None:
        self._store, self._policy = store, policy
        self._chosen = membership.trials.get(policy.sweep) if policy.sweep else None
        self._now = time.time() if now is None else now
        self._network_bytes: dict[int, int | None] = {}
        self.findings = Findings()

    def search(self, scanned: Iterable[tuple[str, TrialFiles]]) -> Findings:
        """Search trials, sweeps, archive and the store's own folder.

        Args:
            scanned: Identity and files of each trial.
        """
        for identity, files in scanned:
            if self._chosen is None or identity in self._chosen:
                self._search_trial(identity, files)
        for sweep in self._store.all_sweeps():
            if self._policy.sweep in (None, sweep.name):
                self._search_sweep(sweep.path)
        self.findings.rest += self._archive()
        if self._policy.sweep is None:
            self.findings.rest += self._leftovers(self._store.root, unclaimed=True)
            self.findings.rest += self._leftovers(self._store.trials, unclaimed=True)
            references = references_of(self._store.root)
            self.findings.rest += self._leftovers(references, unclaimed=True)
        return self.findings

    def _search_trial(self, identity: str, files: TrialFiles) -> None:
        folder = self._store.trial(identity)
        garbage = list(self._of_trial(folder, files))
        if not garbage:
            return
        if files.claimed and (busy := _holder(folder.path)):
            self.findings.busy[identity] = busy
            return
        self.findings.trials[identity] = garbage

    def _of_trial(self, folder: TrialFolder, files: TrialFiles) -> Iterator[Garbage]:
        if files.temporary:
            yield _garbage(What.TEMPORARY, files.temporary)
        if kept := [each for each in files.set_aside if self._is_old(each.changed)]:
            yield _garbage(What.SET_ASIDE, kept)
        networks = files.checkpoints + (files.weights if self._policy.keep == "none" else [])
        removes = bool(networks) and self._policy.keep != "all"
        if (removes or files.evaluation) and self._is_finished(folder):
            if files.evaluation:
                yield _garbage(What.PROGRESS, [files.evaluation])
            if removes and files.checkpoints:
                yield self._checkpoints(files)
            if removes and self._policy.keep == "none" and files.weights:
                yield _garbage(What.WEIGHTS, files.weights)

    def _checkpoints(self, files: TrialFiles) -> Garbage:
        garbage = _garbage(What.CHECKPOINTS, files.checkpoints)
        if self._policy.keep == "none" or files.weights:
            return garbage
        newest = max(files.checkpoints, key=lambda item: item.path.name)
        # Checkpoints of one size are of one model: each size is read once.
        if newest.bytes not in self._network_bytes:
            self._network_bytes[newest.bytes] = network_bytes(newest.path)
        kept = self._network_bytes[newest.bytes]
        frees = garbage.frees - (newest.bytes if kept is None else min(kept, newest.bytes))
        return Garbage(garbage.what, garbage.paths, frees)

    def _is_finished(self, folder: TrialFolder) -> bool:
        """Check for a trial that finished long enough ago."""
        try:
            status = folder.read_status()
        except DamagedFileError:
            return False
        if status is None or not status.finished:
            return False
        older, updated = self._policy.older, datetime.fromisoformat(status.updated)
        return older is None or self._now - updated.timestamp() >= older

    def _is_old(self, since: float) -> bool:
        return self._now - since >= self._policy.kept_seconds

    def _search_sweep(self, folder: Path) -> None:
        garbage = list(self._leftovers(folder))
        garbage += self._leftovers(folder / "report")
        garbage += self._leftovers(folder / "code")
        garbage += self._snapshots(folder.name)
        garbage += self._revisions(folder.name)
        if not garbage:
            return
        if busy := _holder(folder):
            self.findings.busy[folder.name] = busy
            return
        self.findings.sweeps[folder.name] = garbage

    def _leftovers(self, folder: Path, unclaimed: bool = False) -> Iterator[Garbage]:
        """Yield what processes left in a folder to which several may write.

        A temporary file may be in use, so it stays for a day.

        Args:
            folder: The folder.
            unclaimed: Its folders of unfinished deletions go at any age.
        """
        for entry in entries(folder):
            if SET_ASIDE.fullmatch(entry.name):
                item = measure(entry)
                if self._is_old(item.changed):
                    yield _garbage(What.SET_ASIDE, [item])
            elif TEMPORARY.fullmatch(entry.name):
                item = measure(entry)
                gone = unclaimed and entry.name.startswith(".deleted-")
                resumable = entry.name == ".pull"
                least = self._policy.kept_seconds if resumable else DAY_SECONDS
                if gone or self._now - item.changed >= least:
                    yield _garbage(What.TEMPORARY, [item])

    def _snapshots(self, name: str) -> Iterator[Garbage]:
        """Yield code snapshots other than that of the last submission.

        Workers of an earlier submission end soon after its head, but import until then. So
        snapshots stay for a day after the submission that followed.
        """
        pool = PoolFolder(self._store, name)
        try:
            used = Path(pool.request().code).name if pool.submitted else ""
            submitted = (pool.path / "request.json").stat().st_mtime if pool.submitted else 0.0
        except (CareError, OSError):
            return
        if self._now - submitted < DAY_SECONDS:
            return
        for entry in entries(pool.path / "code"):
            if entry.name != used:
                yield _garbage(What.SNAPSHOTS, [measure(entry)])

    def _revisions(self, name: str) -> Iterator[Garbage]:
        """Yield code snapshots of revisions that a sweep no longer names.

        Processes of an earlier start may import until they end, so snapshots stay for a day after
        the last start. Those of uncommitted changes stay as long as archived trials, as git has no
        other copy.
        """
        folder = self._store.sweep(name)
        try:
            declared = folder.read()
            spec = restore_sweep(declared).spec if declared else None
            started = (folder.path / "sweep.json").stat().st_mtime if declared else 0.0
        except (CareError, OSError):
            return
        named = {revision.code_version for revision in spec.code.values()} if spec else set()
        for entry in entries(folder.path / "code"):
            if entry.name in named or TEMPORARY.fullmatch(entry.name):
                continue
            item = measure(entry)
            least = DAY_SECONDS if is_committed(item.path) else self._policy.kept_seconds
            if self._now - max(item.changed, started) >= least:
                yield _garbage(What.REVISIONS, [item])

    def _archive(self) -> Iterator[Garbage]:
        for entry in entries(self._store.root / "archive"):
            match = _ARCHIVED.fullmatch(entry.name)
            if match and (self._chosen is None or match[1] in self._chosen):
                archived = datetime.strptime(match[2], _STAMP).replace(tzinfo=UTC)
                if self._is_old(archived.timestamp()):
                    yield _garbage(What.ARCHIVED, [measure(entry)])
            elif entry.name.startswith(".deleted-") and self._chosen is None:
                yield _garbage(What.TEMPORARY, [measure(entry)])


def is_in_use(snapshot: Path) -> bool:
    """Check for a code snapshot that a start of its sweep has just chosen."""
    try:
        return time.time() - snapshot.lstat().st_mtime < DAY_SECONDS
    except OSError:
        return False


def _garbage(what: What, items: list[DiskItem]) -> Garbage:
    return Garbage(what, tuple(each.path for each in items), sum(each.bytes for each in items))


def _holder(folder: Path) -> str:
    """Describe the process that holds a folder; empty if none does."""
    try:
        return str(holder(folder) or "")
    except CareError as error:
        return str(error)
