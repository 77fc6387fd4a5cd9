"""Merge another store into this one, trial by trial. Nothing here is overwritten.

A trial is copied beside the trials, verified, and renamed. Killed at any moment, it is whole here
or not here, and a second pull continues with the next one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from care.config import TrialConfig
from care.errors import CareError
from care.system.claim import Claim, holder
from care.system.files import (
    DamagedFileError,
    DiskError,
    checksum,
    complete_lines,
    read_whole,
    sync_folder,
    write_atomic,
)
from care.system.permissions import adopt, make_folder
from care.trials.condition import examine
from care.trials.find import list_trials
from care.trials.folder import CHECKPOINT_NAME, WEIGHTS_NAME, TrialFolder
from care.trials.pinned import trial_model
from care.trials.records import StatusRecord, read_record
from care.trials.reference import list_references, read_reference, references_of
from sweeps.account import ACCOUNT, AccountRecord, read_account, write_account
from sweeps.disk.differences import differences
from sweeps.disk.scan import SET_ASIDE, TEMPORARY, entries, measure_below
from sweeps.store import Store, SweepFolder

PARTS = ".pull"
"""Folder of a store for trials that are being copied."""

_LARGEST = 2**36


class Verdict(StrEnum):
    """What a pull did with a trial.

    Attributes:
        COPIED: It was missing here.
        REPLACED: It is finished there, and was not here; the one here is in the archive.
        HERE: The one here is as good.
        DIFFERENT: Finished in both, with other numbers.
        BUSY: A process holds it, there or here.
        DAMAGED: Its files there cannot be used.
    """

    COPIED = "copied"
    REPLACED = "replaced"
    HERE = "here"
    DIFFERENT = "different"
    BUSY = "busy"
    DAMAGED = "damaged"


@dataclass
class Pulled:
    """The outcome of a pull.

    Attributes:
        trials: Identities by verdict.
        reasons: Reason by identity, where the verdict needs one; notes on sweeps by their name.
        sweeps: Names of the sweeps that were added.
        bytes: Bytes that were copied.
    """

    trials: dict[Verdict, list[str]] = field(default_factory=lambda: {each: [] for each in Verdict})
    reasons: dict[str, str] = field(default_factory=dict)
    sweeps: list[str] = field(default_factory=list)
    bytes: int = 0

    @property
    def complete(self) -> bool:
        """True if the store has all that the other one has, with equal numbers."""
        left = (Verdict.DIFFERENT, Verdict.BUSY, Verdict.DAMAGED)
        return not any(self.trials[verdict] for verdict in left)


def wants(store: Store, there: TrialFolder) -> bool:
    """Check, from the trial's records alone, whether a pull would copy a trial of another store."""
    status = there.read_status()
    if status is None:
        return False
    here = store.trial(there.trial_id)
    if not os.path.lexists(here.path):
        return True
    return status.finished and not _is_finished(here)


@contextlib.contextmanager
def parts_of(store: Store) -> Iterator[Path]:
    """Claim the folder for copies in progress; removed at the end, kept after an error.

    Raises:
        CareError: Another pull into this store runs.
    """
    store.prepare()
    folder = store.root / PARTS
    claim = Claim.take(folder)
    if claim is None:
        raise CareError(f"{store.root}: another pull into this store runs")
    with claim:
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


class Puller:
    """Copies trials and declarations of another store.

    Args:
        store: This store.
        other: The other store, on a disk of this machine.
        advance: Called after each trial.
    """

    def __init__(
        self, store: Store, other: Store, advance: Callable[[], object] = lambda: None
    ) -> None:
        self._store, self._other, self._advance = store, other, advance
        self._parts = store.root / PARTS
        # Files that were fetched from another machine need no second copy.
        fetched = other.root.is_relative_to(self._parts)
        self._copy_file: Callable[[str, str], object] = os.link if fetched else shutil.copyfile
        self.pulled = Pulled()

    def pull(self) -> Pulled:
        """Copy every trial and sweep that is missing here, within :func:`parts_of` this store.

        Raises:
            DiskError: The disk is full or the store cannot be written; what was copied stays.
        """
        for there in list_trials(self._other.trials):
            try:
                self._pull_trial(there)
            finally:
                shutil.rmtree(self._parts / there.trial_id, ignore_errors=True)
            self._advance()
        for path in list_references(self._other.root):
            self._pull_reference(path)
        for sweep in self._other.all_sweeps():
            self._pull_sweep(sweep)
        return self.pulled

    def _pull_reference(self, there: Path) -> None:
        """Copy a reference that is missing here; one that is here stays."""
        identity = there.name
        here = references_of(self._store.root) / identity
        part = self._parts / identity
        try:
            other = read_reference(there)
            mine = read_reference(here) if os.path.lexists(here) else None
            if other is None:
                return
            if mine:
                different = mine.measures != other.measures
                reason = "its measures differ" if different else ""
                self._note(Verdict.DIFFERENT if different else Verdict.HERE, identity, reason)
                return
            _copy_files(there, part, self._copy_file)
            read_reference(part)  # nothing was changed on the way
            make_folder(here.parent)
            size = measure_below(part)
            part.rename(here)
            sync_folder(here.parent)
        except DamagedFileError as error:
            self._note(Verdict.DAMAGED, identity, f"{error.path.name} {error.problem}")
        except OSError as error:
            raise DiskError(here, error) from error
        else:
            self.pulled.bytes += size
            self._note(Verdict.COPIED, identity)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _note(self, verdict: Verdict, identity: str, reason: str = "") -> None:
        self.pulled.trials[verdict].append(identity)
        if reason:
            self.pulled.reasons[identity] = reason

    def _pull_trial(self, there: TrialFolder) -> None:
        identity = there.trial_id
        try:
            here = self._store.trial(identity)
            if wants(self._store, there):
                self._copy(there, here)
            elif _is_finished(here) and _is_finished(there):
                different = differences(here, there)
                verdict = Verdict.DIFFERENT if different else Verdict.HERE
                self._note(verdict, identity, different)
            elif os.path.lexists(here.path):
                self._note(Verdict.HERE, identity)
        except DamagedFileError as error:
            self._note(Verdict.DAMAGED, identity, f"{error.path.name} {error.problem}")

    def _copy(self, there: TrialFolder, here: TrialFolder) -> None:
        identity = there.trial_id
        config = _config(there)
        finished = _is_finished(there)
        if not finished and (process := holder(there.path)):
            self._note(Verdict.BUSY, identity, f"there by {process}")
            return
        part = TrialFolder(self._parts / identity)
        before = read_whole(there.path / "status.json")
        dropped = _copy_files(there.path, part.path, self._copy_file)
        _verify(part, config, finished)
        if read_whole(there.path / "status.json") != before or (
            not finished and holder(there.path)
        ):
            self._note(Verdict.BUSY, identity, "there, by a process that began meanwhile")
            return
        size = measure_below(part.path)
        replaces = os.path.lexists(here.path)
        if not self._publish(part, here):
            self._note(Verdict.BUSY, identity, "here by another process")
            return
        self.pulled.bytes += size
        self._note(Verdict.REPLACED if replaces else Verdict.COPIED, identity)
        if dropped:
            self.pulled.reasons[identity] = f"without {', '.join(dropped)}, damaged there"

    def _publish(self, part: TrialFolder, here: TrialFolder) -> bool:
        """Rename a verified copy to its trial; return False if a process holds it here."""
        if os.path.lexists(here.path) and self._store.archive(here.trial_id) is None:
            return False
        try:
            part.path.rename(here.path)
            sync_folder(here.path.parent)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # started here meanwhile
                return False
            raise DiskError(here.path, error) from error
        return True

    def _pull_sweep(self, there: SweepFolder) -> None:
        here = self._store.sweep(there.name)
        try:
            declaration = there.declaration()
            if os.path.lexists(here.path / "sweep.json"):
                mine = here.declaration()
                if (mine.spec, mine.base) != (declaration.spec, declaration.base):
                    reason = "is declared otherwise there; the one here is kept"
                    self.pulled.reasons[there.name] = reason
                else:
                    self._pull_account(there, here)
                return
            _copy_sweep(there, here)
        except DamagedFileError as error:
            self.pulled.reasons[there.name] = f"{error.path.name} {error.problem}"
            return
        self.pulled.sweeps.append(there.name)

    def _pull_account(self, there: SweepFolder, here: SweepFolder) -> None:
        """Take over the hours of a sweep that both stores have, where they are more there.

        Raises:
            DamagedFileError: One of the accounts cannot be read; the one here is unchanged.
        """
        mine, other = (read_record(one.path / ACCOUNT, AccountRecord) for one in (here, there))
        merged = (mine or AccountRecord()).merge(other or AccountRecord())
        if other is None or merged == mine:
            return
        claim = Claim.take(here.path)
        if claim is None:
            reason = "runs here, so the hours spent there are left out; pull again afterwards"
            self.pulled.reasons[there.name] = reason
            return
        with claim:
            write_account(SweepFolder(here.path, claim), merged)


def _copy_sweep(there: SweepFolder, here: SweepFolder) -> None:
    """Copy log, hours and declaration; the last one makes the sweep visible."""
    try:
        make_folder(here.path)
    except OSError as error:
        raise DiskError(here.path, error) from error
    if there.events():
        events = complete_lines(there.path / "events.jsonl")
        write_atomic(here.path / "events.jsonl", events, in_store=True)
    if (account := read_account(there)) != AccountRecord():
        write_account(here, account)
    declaration = read_whole(there.path / "sweep.json") or b""
    write_atomic(here.path / "sweep.json", declaration, in_store=True)


def _is_finished(folder: TrialFolder) -> bool:
    """Check for a finished trial, by its status alone; False if that is damaged."""
    status: StatusRecord | None = None
    with contextlib.suppress(DamagedFileError):
        status = folder.read_status()
    return status is not None and status.finished


def _config(there: TrialFolder) -> TrialConfig:
    trial = there.read_trial()
    if trial is None:
        raise DamagedFileError(there.path / "trial.json", "is missing")
    try:
        return trial_model(trial.config).model_validate(trial.config)
    except ValidationError as error:
        raise DamagedFileError(
            there.path / "trial.json", "holds no configuration of this version"
        ) from error


def _copy_files(there: Path, part: Path, copy_file: Callable[[str, str], object]) -> list[str]:
    """Copy the files of a trial, and return the names of damaged networks, which are left out."""
    dropped: list[str] = []
    try:
        shutil.rmtree(part, ignore_errors=True)
        make_folder(part)
        for entry in _own_files(there):
            target = part / entry.name
            if entry.is_dir():
                shutil.copytree(entry.path, target, copy_function=copy_file)
                continue
            match = CHECKPOINT_NAME.fullmatch(entry.name) or WEIGHTS_NAME.fullmatch(entry.name)
            copy_file(entry.path, str(target))
            if (
                match
                and checksum(read_whole(target, _LARGEST) or b"") != match[match.lastindex or 0]
            ):
                target.unlink()
                dropped.append(entry.name)
                continue
            with target.open("rb") as file:
                os.fsync(file.fileno())
        adopt(part)
        sync_folder(part)
    except OSError as error:
        raise DiskError(part, error) from error
    return dropped


def _is_damaged_network(path: Path) -> bool:
    """Check a checkpoint or weights file against the digest in its name."""
    match = CHECKPOINT_NAME.fullmatch(path.name) or WEIGHTS_NAME.fullmatch(path.name)
    return bool(match) and not path.stem.endswith(checksum(read_whole(path, _LARGEST) or b""))


def _own_files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the files of a trial without claims and what processes and accidents left."""
    for entry in entries(folder):
        rubbish = TEMPORARY.fullmatch(entry.name) or SET_ASIDE.fullmatch(entry.name)
        if not rubbish and not entry.name.startswith(("claim-", ".")) and not entry.is_symlink():
            yield entry


def _verify(part: TrialFolder, config: TrialConfig, finished: bool) -> None:
    """Check a copy as a plan does: identity, records, and the checksums of a finished trial.

    Raises:
        DamagedFileError: A file is not as its trial wrote it.
    """
    condition = examine(part, config)
    for name, problem in condition.repairs.items():
        raise DamagedFileError(part.path / name, problem)
    if condition.damage:
        raise DamagedFileError(part.path, condition.damage)
    if finished != bool(condition.status and condition.status.finished):
        raise DamagedFileError(part.path / "status.json", "changed while it was copied")
