"""Examine the files of a trial: usable, rebuilt at the next start, or damaged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from care.config import TrialConfig
from care.config.metrics import is_final_measure
from care.system.arrays import check_end
from care.system.files import DamagedFileError, set_aside
from care.trials.folder import CHECKPOINT_NAME, FORMAT, SEALED, WEIGHTS_NAME, TrialFolder, now
from care.trials.identity import trial_id
from care.trials.pinned import trial_model
from care.trials.records import ProvenanceRecord, StatusRecord, TrialRecord
from care.trials.state import State
from care.trials.trial_files import TrialFiles

_COMPUTED = {"metrics.jsonl", "evaluation.json", "details.npz"}
_RECORDED = {"status.json", "provenance.json", "starts.jsonl", "timings.jsonl", *_COMPUTED}


_ADVICE = "To archive and rerun it: care sweep run FILE --rerun-damaged"
_STAMPED = ("trial.json", "status.json", *SEALED)
_Stamp = tuple[tuple[int, int, int, int] | None, ...]
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Condition:
    """The condition of a trial's files; without damage and status the trial was never started.

    Attributes:
        status: The recorded status, or one derived from other files if ``status.json`` is damaged.
        provenance: The recorded provenance.
        damage: Reason why the trial cannot be used; empty if it can.
        repairs: Damage of each file that the next start rebuilds, by name.
        checkpoint: Epoch of the newest checkpoint or weights file, by its name; None without one.
    """

    status: StatusRecord | None = None
    provenance: ProvenanceRecord | None = None
    damage: str = ""
    repairs: dict[str, str] = field(default_factory=dict)
    checkpoint: int | None = None

    @property
    def computed(self) -> bool:
        """True if the trial has results of training."""
        status = self.status
        trained = status is not None and (status.finished or status.epoch > 0)
        return trained or self.checkpoint is not None


_finished: dict[Path, tuple[_Stamp, Condition]] = {}


def examine(folder: TrialFolder, config: TrialConfig) -> Condition:
    """Examine from a trial's files whether its numbers can be used; writes nothing.

    A finished, undamaged trial is read once per process, until one of its files changes.

    Args:
        folder: The trial's folder; of :class:`care.trials.trial_files.TrialFiles`, the files as
            they were read.
        config: The trial's configuration, which the folder must have.
    """
    stamp = _stamp(folder.path)
    known = _finished.get(folder.path)
    if known and known[0] == stamp:
        return known[1]
    condition = _examine(folder, config)
    if isinstance(folder, TrialFiles):  # its files may have changed since they were read
        return condition
    status = condition.status
    if status and status.finished and not condition.damage and not condition.repairs:
        _finished[folder.path] = stamp, condition
    return condition


def _stamp(path: Path) -> _Stamp:
    """Return a value that changes whenever a file of a finished trial changes."""
    stamps: list[tuple[int, int, int, int] | None] = []
    for name in _STAMPED:
        try:
            status = os.stat(f"{path}/{name}")  # noqa: PTH116 - fast for thousands of files
        except OSError:
            stamps.append(None)
        else:
            stamps.append((status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode))
    return tuple(stamps)


def _examine(folder: TrialFolder, config: TrialConfig) -> Condition:
    try:
        names = _list_names(folder.path)
        newest = max(_saved_epochs(names), default=None)
        files = folder if isinstance(folder, TrialFiles) else TrialFiles(folder.path)
        trial = files.read_trial()
        if trial is None and not names & _RECORDED and newest is None:
            return Condition()
        _check_identity(files, trial, config)
        return _Examination(files, config.training.epochs, newest).condition()
    except DamagedFileError as error:
        where = "its folder" if error.path == folder.path else error.path.name
        return Condition(damage=f"{where} {error.problem}")


def _saved_epochs(names: Iterable[str]) -> Iterator[int]:
    """Yield the epoch of each checkpoint and weights file."""
    for name in names:
        if match := CHECKPOINT_NAME.fullmatch(name) or WEIGHTS_NAME.fullmatch(name):
            yield int(match[1])


def _check_seal(files: TrialFiles, name: str, status: StatusRecord) -> bool:
    """Check a file against the checksum in the status; return False without a checksum.

    Raises:
        DamagedFileError: The checksum differs.
    """
    found, expected = files.checksum(name), status.checksums.get(name)
    if found is None or expected is None:  # trials of earlier versions have no checksums
        return False
    if found != expected:
        problem = "was changed after the trial was finished (its checksum differs)"
        raise DamagedFileError(files.path / name, problem)
    return True


def _list_names(path: Path) -> set[str]:
    try:
        return set(os.listdir(path))  # noqa: PTH208 - no Path for each of thousands of files
    except FileNotFoundError:
        if path.is_symlink():
            raise DamagedFileError(path, "is a dangling link") from None
        return set()
    except NotADirectoryError as error:
        raise DamagedFileError(path, "is a file where a folder belongs") from error
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise DamagedFileError(path, problem, denied=isinstance(error, PermissionError)) from error


def _check_identity(folder: TrialFolder, trial: TrialRecord | None, config: TrialConfig) -> None:
    path = folder.path / "trial.json"
    if trial is None:
        raise DamagedFileError(path, "is missing")
    if trial.format > FORMAT:
        raise DamagedFileError(path, f"has format {trial.format}, of a newer version of care")
    declared = {name: part for name, part in trial.config.items() if name != "runtime"}
    if declared != config.model_dump(mode="json", exclude={"runtime"}):
        try:
            identity = trial_id(trial_model(declared).model_validate(declared))
        except ValidationError as error:
            raise DamagedFileError(path, "holds no valid configuration") from error
        if identity != trial_id(config):
            raise DamagedFileError(path, f"holds the configuration of another trial, {identity}")
    if trial.trial_id != folder.trial_id and trial.trial_id != trial_id(config):
        raise DamagedFileError(path, f"is of another trial, {trial.trial_id}")


class _Examination:
    """Examines the files of a started trial with the identity of its folder.

    Args:
        files: The trial's files.
        epochs: Configured number of epochs.
        checkpoint: Epoch of the newest checkpoint or weights file.
    """

    def __init__(self, files: TrialFiles, epochs: int, checkpoint: int | None) -> None:
        self._files = files
        self._epochs, self._checkpoint = epochs, checkpoint
        self._repairs: dict[str, str] = {}

    def condition(self) -> Condition:
        """Examine all files together.

        Raises:
            DamagedFileError: A file is lost that cannot be rebuilt.
        """
        status = self._try("status.json", self._read_status)
        if status is None:
            status = self._derive_status()
        condition = Condition(status, None, "", self._repairs, self._checkpoint)
        if not condition.computed:
            self._try("provenance.json", self._files.read_provenance)
            self._try("metrics.jsonl", self._files.read_metrics)
            return condition
        provenance = self._files.read_provenance()
        if provenance is None:
            raise self._damaged("provenance.json", "is missing")
        if status and status.finished:
            self._check_finished(status)
        elif self._checkpoint is None:  # the training starts at epoch 0
            self._try("metrics.jsonl", self._files.read_metrics)
        else:
            self._check_epochs(self._checkpoint)
        return replace(condition, provenance=provenance)

    def _read_status(self) -> StatusRecord | None:
        status = self._files.read_status()
        if status is not None:
            if status.epochs != self._epochs or status.epoch > status.epochs:
                problem = f"has epoch {status.epoch} of {status.epochs}, not of {self._epochs}"
                raise self._damaged("status.json", problem)
            if status.finished and status.epoch < status.epochs:
                problem = f"has finished at epoch {status.epoch} of {status.epochs}"
                raise self._damaged("status.json", problem)
        return status

    def _derive_status(self) -> StatusRecord | None:
        """Derive the status from the other files; None if nothing was computed."""
        metrics = self._try("metrics.jsonl", self._files.read_metrics) or []
        measures = self._try("evaluation.json", self._files.read_evaluation)
        lost = bool(self._repairs.keys() - {"status.json"})
        if not metrics and measures is None and self._checkpoint is None and not lost:
            return None
        self._repairs.setdefault("status.json", "is missing")
        finished = measures is not None and len(metrics) == self._epochs
        return StatusRecord(
            state=State.FINISHED if finished else State.PAUSED,
            epoch=self._epochs if finished else self._checkpoint or 0,
            epochs=self._epochs,
            updated=now(),
        )

    def _check_epochs(self, expected: int) -> None:
        metrics = self._files.read_metrics()
        if len(metrics) < expected:
            problem = f"has {len(metrics)} of {expected} epochs"
            raise self._damaged("metrics.jsonl", problem)

    def _check_finished(self, status: StatusRecord) -> None:
        """Check a finished trial; a lost evaluation is repeated with the trained network.

        Raises:
            DamagedFileError: The evaluation cannot be repeated, or another file is lost.
        """
        _check_seal(self._files, "provenance.json", status)
        if not _check_seal(self._files, "metrics.jsonl", status):
            self._check_epochs(self._epochs)
        before = set(self._repairs)
        self._try("evaluation.json", lambda: self._check_measures(status))
        self._try("details.npz", lambda: self._check_details(status))
        for name in self._repairs.keys() - before:
            if self._checkpoint != self._epochs:
                problem = f"{self._repairs[name]}; there are no weights to repeat the evaluation"
                raise self._damaged(name, problem)

    def _check_measures(self, status: StatusRecord) -> None:
        if _check_seal(self._files, "evaluation.json", status):
            return
        measures = self._files.read_evaluation()
        if measures is None:
            raise self._damaged("evaluation.json", "is missing")
        if not any(map(is_final_measure, measures)):
            raise self._damaged("evaluation.json", "holds no measure")

    def _check_details(self, status: StatusRecord) -> None:
        if not _check_seal(self._files, "details.npz", status):
            check_end(self._files.path / "details.npz")

    def _damaged(self, name: str, problem: str) -> DamagedFileError:
        return DamagedFileError(self._files.path / name, problem)

    def _try(self, name: str, read: Callable[[], _Value]) -> _Value | None:
        """Call ``read`` and record damage to the file, unless only a permission is missing."""
        try:
            return read()
        except DamagedFileError as error:
            if error.denied:
                raise
            self._repairs[name] = error.problem
            return None


def repair(folder: TrialFolder, config: TrialConfig, warn: Callable[[str], None]) -> None:
    """Set aside damaged files that this start rebuilds; requires the trial's claim.

    A lost status is rewritten. A trial with a lost evaluation is paused, so that the evaluation is
    repeated from its last checkpoint or its weights file.

    Args:
        folder: The trial's folder.
        config: The trial's configuration.
        warn: Called with a line for each file.

    Raises:
        DamagedFileError: A lost file cannot be rebuilt; nothing was changed.
    """
    condition = examine(folder, config)
    if condition.damage:
        raise DamagedFileError(folder.path, f"is damaged: {condition.damage}", _ADVICE)
    problems = dict(condition.repairs)
    for read in (folder.read_starts, folder.read_timings):
        try:
            read()
        except DamagedFileError as error:
            if error.denied:
                raise
            problems[error.path.name] = error.problem
    if os.path.lexists(folder.path / "evaluation") and not (folder.path / "evaluation").is_dir():
        problems["evaluation"] = "is a file where a folder belongs"
    for name, problem in problems.items():
        kept = set_aside(folder.path / name, folder.writer)
        warn(f"{name} {problem}" + (f"; it is kept as {kept.name}" if kept else ""))
    status = condition.status
    remeasured = bool(problems.keys() & {"evaluation.json", "details.npz"})
    if status and (remeasured or "status.json" in problems):
        state = State.PAUSED if remeasured else status.state
        folder.write_status(state, status.epoch, status.epochs, status.error)
