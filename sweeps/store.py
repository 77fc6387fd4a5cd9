"""The run store: the folders of trials and sweeps on disk."""

from __future__ import annotations

import logging
import math
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from care.config import TrialConfig
from care.errors import CareError
from care.system.claim import Claim, holder
from care.system.files import DamagedFileError, DiskError, Writer, read_lines, set_aside, write_json
from care.system.permissions import PRIVATE_FOLDER, STORE, make_folder
from care.trials.condition import Condition, examine
from care.trials.find import list_names, list_trials
from care.trials.folder import TrialFolder, check_format, now
from care.trials.hardware import Machine
from care.trials.records import StoreRecord, SweepRecord, read_record
from care.trials.staleness import Versions
from care.trials.state import State
from care.trials.trial_files import StoreFiles
from sweeps.store_access import explain_denied, make_root, settle_access
from sweeps.store_identity import settle_identity

_log = logging.getLogger(__name__)

_SWEEP_ADVICE = "The sweep's next run writes it again: care sweep run FILE"
EVENTS_ADVICE = "Move the file away to restart the search; finished trials are kept"
"""Instructions for a damaged log of decisions."""
_STORE_ADVICE = (
    "It holds the format of the store. Restore it from a copy; or delete it, and the next run "
    "writes it again. The trials stay as they are."
)


class Store:
    """Trials by identity and sweeps by name under one root. Opening it writes nothing.

    Args:
        root: Folder of the store.
        files: Reads the trials' files, for a caller that needs each of them several times.

    Raises:
        CareError: No store can be at ``root``, or a newer version of this project wrote it.
        DamagedFileError: ``store.json`` cannot be read.
    """

    def __init__(self, root: Path, files: StoreFiles | None = None) -> None:
        self.root = root
        self._files = files
        _check_root(root)
        try:
            record = read_record(root / "store.json", StoreRecord)
        except DamagedFileError as error:
            raise error if error.denied else error.with_advice(_STORE_ADVICE) from error
        if record:
            check_format(record.format, root)

    def prepare(self) -> str:
        """Create the folders and the store's identity; called before the first write.

        Returns:
            The store's uuid.

        Raises:
            CareError: The folder cannot be created or written.
        """
        try:
            make_root(self.root)
            new = not (self.root / STORE).exists()
            make_folder(self.trials, PRIVATE_FOLDER if new else None)
        except OSError as error:
            raise CareError(
                f"{self.root}: cannot make the store here ({error.strerror})"
            ) from error
        identity = settle_identity(self.root)
        settle_access(self.root, new=new)
        return identity.uuid

    @property
    def trials(self) -> Path:
        """The folder of the trials' folders."""
        return self.root / "trials"

    def trial(self, trial_id: str) -> TrialFolder:
        """Return the folder of a trial, whether it exists or not."""
        return self._files.trial(trial_id) if self._files else TrialFolder(self.trials / trial_id)

    def all_trials(self) -> Iterator[TrialFolder]:
        """Yield every trial that was ever started; see :func:`care.trials.find.list_trials`."""
        return list_trials(self.trials)

    def started(self) -> frozenset[str] | None:
        """Return the names in the folder of trials; None if it cannot be read."""
        try:
            return frozenset(list_names(self.trials))
        except CareError:  # each trial then says so
            return None

    def sweep(self, name: str) -> SweepFolder:
        """Return the folder of a sweep, whether it exists or not."""
        return SweepFolder(self.root / "sweeps" / name)

    def all_sweeps(self) -> Iterator[SweepFolder]:
        """Yield every sweep that was ever started, by name, including damaged ones."""
        for name in list_names(self.root / "sweeps"):
            if os.path.lexists(self.root / "sweeps" / name / "sweep.json"):
                yield self.sweep(name)

    def archive(self, trial_id: str) -> Path | None:
        """Move a trial's folder to the archive, so that the trial is new; nothing is deleted.

        Returns:
            The folder in the archive, or None if another process holds the trial.

        Raises:
            DiskError: The folder cannot be moved; nothing was changed.
        """
        folder = self.trials / trial_id
        if os.path.lexists(folder) and not folder.is_dir():  # a file, or a broken link
            return self._move_to_archive(folder, folder.rename)
        claim = Claim.take(folder)
        if claim is None:
            return None
        with claim:
            return self._move_to_archive(folder, claim.move)

    def _move_to_archive(self, folder: Path, move: Callable[[Path], object]) -> Path:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        target = self.root / "archive" / f"{folder.name}-{stamp}"
        try:
            make_folder(target.parent)
            move(target)
        except OSError as error:
            raise DiskError(folder, error) from error
        return target


def _check_root(root: Path) -> None:
    try:
        is_folder = stat.S_ISDIR(root.stat().st_mode)
    except FileNotFoundError:
        if not root.is_symlink():
            return
        raise CareError(f"{root}: no store can be here (a dangling link)") from None
    except OSError as error:
        reason = explain_denied(root) or error.strerror
        raise CareError(f"{root}: no store can be here ({reason})") from error
    if not is_folder:
        raise CareError(f"{root}: no store can be here (Not a directory)")
    if not os.access(root, os.R_OK | os.X_OK, effective_ids=True):
        raise CareError(f"{root}: cannot be read: {explain_denied(root)}")


class SweepFolder:
    """A sweep's declaration, its log of decisions and its report.

    Args:
        path: The folder.
        writer: The driver's claim on the sweep; by default, no claim is checked.
    """

    def __init__(self, path: Path, writer: Writer | None = None) -> None:
        self.path = path
        self.writer = writer or Writer()

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.path.name

    @property
    def report(self) -> Path:
        """The folder of the report."""
        return self.path / "report"

    def read(self) -> SweepRecord | None:
        """Read the declaration of the last start; None if the sweep was never started.

        Raises:
            DamagedFileError: The file cannot be read.
        """
        try:
            return read_record(self.path / "sweep.json", SweepRecord)
        except DamagedFileError as error:
            raise error if error.denied else error.with_advice(_SWEEP_ADVICE) from error

    def declaration(self) -> SweepRecord:
        """Read the declaration of a sweep that was started.

        Raises:
            DamagedFileError: The file is missing or cannot be read.
        """
        if declaration := self.read():
            return declaration
        raise DamagedFileError(self.path / "sweep.json", "is missing", _SWEEP_ADVICE)

    def write(self, declaration: SweepRecord) -> None:
        """Write the declaration of a sweep that starts; ``created`` is kept.

        Args:
            declaration: The sweep as it starts now.

        Raises:
            DiskError: The folder cannot be written.
        """
        path = self.path / "sweep.json"
        try:
            make_folder(self.path)
        except OSError as error:
            raise DiskError(self.path, error) from error
        before = None
        try:
            before = self.read()
        except DamagedFileError as error:
            kept = set_aside(path)
            text = f", {kept.name} kept" if kept else ""
            _log.warning("%s %s; it is replaced%s", path, error.problem, text)
        created = before.created if before else ""
        declaration = declaration.model_copy(update={"created": created or now()})
        write_json(path, declaration.model_dump(mode="json", exclude_unset=True), in_store=True)

    def events(self) -> list[dict[str, Any]]:
        """Read the decisions of search and scheduler, oldest first.

        Raises:
            DamagedFileError: A line cannot be read; the other lines depend on it.
        """
        path = self.path / "events.jsonl"
        try:
            return read_lines(path)
        except DamagedFileError as error:
            raise error if error.denied else error.with_advice(EVENTS_ADVICE) from error

    def log(self, event: dict[str, Any]) -> None:
        """Append a decision; called before it takes effect, so that a crash cannot lose it.

        Raises:
            LostClaimError: Another driver has taken over the sweep.
            DiskError: The disk is full or not available.
        """
        self.writer.append(self.path / "events.jsonl", event)


@dataclass(frozen=True)
class TrialStatus:
    """The state of a trial in the store, as a plan shows it.

    Attributes:
        state: The trial's state.
        epoch: Completed epochs.
        reason: Cause of a failed, stale or damaged state, or the files that the next run rebuilds;
            empty otherwise.
        machine: The machine that trained it, if it is neither stale nor damaged.
    """

    state: State
    epoch: int = 0
    reason: str = ""
    machine: Machine | None = None


def trial_status(folder: TrialFolder, versions: Versions, config: TrialConfig) -> TrialStatus:
    """Determine the state of a trial from its files.

    Args:
        folder: The trial's folder.
        versions: The current code and data; results of others are stale.
        config: The trial's planned configuration.
    """
    condition = examine(folder, config)
    status = condition.status
    epoch = status.epoch if status else 0
    done = status is not None and status.finished and not condition.repairs
    if not done:
        try:
            if holder(folder.path):
                return TrialStatus(State.RUNNING, epoch)
        except CareError as error:  # its claim cannot be read
            return TrialStatus(State.DAMAGED, epoch, condition.damage or str(error))
    if condition.damage:
        return TrialStatus(State.DAMAGED, epoch, condition.damage)
    machine = None
    if condition.computed:
        reason = versions.why_stale(condition.provenance, config)
        if reason:
            return TrialStatus(State.STALE, epoch, reason)
        machine = Machine.of(condition.provenance)
    if status is None:
        return TrialStatus(State.NEW, reason=_repairs(condition))
    if status.finished and not condition.repairs:
        return TrialStatus(State.FINISHED, epoch, machine=machine)
    if status.state == State.FAILED:
        return TrialStatus(State.FAILED, epoch, status.error.message if status.error else "")
    state = State.PAUSED if condition.computed else State.NEW
    return TrialStatus(state, epoch, _repairs(condition), machine)


def _repairs(condition: Condition) -> str:
    """Describe the files that the next start rebuilds."""
    problems = [f"{name} {problem}" for name, problem in condition.repairs.items()]
    return f"{'; '.join(problems)}; the next run rebuilds it" if problems else ""


def final_values(folder: TrialFolder) -> dict[str, float]:
    """Read the metrics of a trial's last epoch and its final measures."""
    try:
        metrics = folder.read_metrics()
        return {**(metrics[-1] if metrics else {}), **(folder.read_evaluation() or {})}
    except DamagedFileError:  # damaged since the plan; the next plan shows it
        return {}


def final_value(folder: TrialFolder, metric: str) -> float | None:
    """Read a finished trial's value of ``metric``; None without a finite value."""
    return finite(final_values(folder).get(metric))


def finite(value: float | None) -> float | None:
    """Return a finite value as it is, and None for any other."""
    return value if value is not None and math.isfinite(value) else None
