"""What the files of a trial amount to: used as they are, rebuilt at the next start, or damaged."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from care.arrays import check_end
from care.config import TrialConfig
from care.files import DamagedFileError, set_aside
from care.identity import trial_id
from care.measures import FINAL_MEASURES
from care.records import ProvenanceRecord, StatusRecord, TrialRecord
from care.trial_folder import FORMAT, TrialFolder, now

_CHECKPOINT = re.compile(r"checkpoint-(\d{6})-\d{6}-[0-9a-f]{16}\.pt")
_COMPUTED = {"metrics.jsonl", "evaluation.json", "details.npz"}
_RECORDED = {"status.json", "provenance.json", "starts.jsonl", "timings.jsonl", *_COMPUTED}


@dataclass(frozen=True)
class Condition:
    """What the files of a trial amount to. With neither damage nor a status it was never started.

    Attributes:
        status: As recorded, or as the other files show where ``status.json`` cannot be read.
        provenance: As recorded.
        damage: Why nothing of the trial can be used; empty when it can.
        repairs: What is wrong with each file that the next start rebuilds.
        checkpoint: Epoch of the newest checkpoint, by its name; None without one.
    """

    status: StatusRecord | None = None
    provenance: ProvenanceRecord | None = None
    damage: str = ""
    repairs: dict[str, str] = field(default_factory=dict)
    checkpoint: int | None = None

    @property
    def computed(self) -> bool:
        """Whether there are results of a training."""
        status = self.status
        at_work = status is not None and (status.state == "finished" or status.epoch > 0)
        return at_work or self.checkpoint is not None


def examine(folder: TrialFolder, config: TrialConfig) -> Condition:
    """Read the files of a trial that say whether its numbers can be used; writes nothing.

    The arrays of ``details.npz`` are not read, only the end of the file.

    Args:
        folder: The trial's folder.
        config: The trial, whose identity is the folder's name.
    """
    try:
        names = _names(folder.path)
        newest = max(
            (int(match[1]) for match in map(_CHECKPOINT.fullmatch, names) if match), default=None
        )
        trial = folder.read_trial()
        if trial is None and not names & _RECORDED and newest is None:
            return Condition()
        _check_identity(folder, trial, config)
        return _examine(folder, config, names, newest)
    except DamagedFileError as error:
        where = "its folder" if error.path == folder.path else error.path.name
        return Condition(damage=f"{where} {error.problem}")


def _names(path: Path) -> set[str]:
    try:
        return set(os.listdir(path))  # noqa: PTH208 - no Path for each of thousands of files
    except FileNotFoundError:
        if path.is_symlink():
            raise DamagedFileError(path, "is a link to nothing") from None
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
            identity = trial_id(TrialConfig.model_validate(declared))
        except ValidationError as error:
            raise DamagedFileError(path, "holds no valid configuration") from error
        if identity != folder.trial_id:
            raise DamagedFileError(path, f"holds the configuration of another trial, {identity}")
    if trial.trial_id != folder.trial_id:
        raise DamagedFileError(path, f"is that of another trial, {trial.trial_id}")


def _examine(
    folder: TrialFolder, config: TrialConfig, names: set[str], newest: int | None
) -> Condition:
    epochs = config.training.epochs
    repairs: dict[str, str] = {}
    metrics = _try(repairs, folder.path / "metrics.jsonl", folder.read_metrics)
    status = _try(repairs, folder.path / "status.json", lambda: _status(folder, epochs))
    if "metrics.jsonl" in repairs:
        if newest is not None or (status and status.state == "finished"):
            raise DamagedFileError(folder.path / "metrics.jsonl", repairs["metrics.jsonl"])
        metrics = []  # without a checkpoint the training starts from its beginning
    if status is None and (metrics or newest is not None or "evaluation.json" in names):
        repairs.setdefault("status.json", "is missing")
    if "status.json" in repairs:
        whole = len(metrics) == epochs and "evaluation.json" in names
        epoch = epochs if whole else newest or 0
        status = StatusRecord(
            state="finished" if whole else "paused", epoch=epoch, epochs=epochs, updated=now()
        )
    condition = Condition(status, None, "", repairs, newest)
    if condition.computed:
        provenance = folder.read_provenance()
        if provenance is None:
            raise DamagedFileError(folder.path / "provenance.json", "is missing")
        condition = replace(condition, provenance=provenance)
    else:
        _try(repairs, folder.path / "provenance.json", folder.read_provenance)
    if status and status.state == "finished":
        _examine_finished(folder, metrics, epochs, condition)
    elif newest is not None and len(metrics) < newest:
        _too_few(folder, len(metrics), newest)
    return condition


def _status(folder: TrialFolder, epochs: int) -> StatusRecord | None:
    status = folder.read_status()
    if status is not None:
        whole = status.epoch == epochs if status.state == "finished" else status.epoch <= epochs
        if not whole or status.epochs != epochs:
            problem = (
                f"has {status.state} at epoch {status.epoch} of {status.epochs}, not of {epochs}"
            )
            raise DamagedFileError(folder.path / "status.json", problem)
    return status


def _examine_finished(
    folder: TrialFolder, metrics: list[Any], epochs: int, condition: Condition
) -> None:
    """Find what of the evaluation is lost: with the last checkpoint, it is measured again.

    Raises:
        DamagedFileError: It cannot be measured again, or an epoch is missing.
    """
    if len(metrics) < epochs:
        _too_few(folder, len(metrics), epochs)
    lost: dict[str, str] = {}
    _try(lost, folder.path / "evaluation.json", lambda: _check_measures(folder))
    _try(lost, folder.path / "details.npz", lambda: check_end(folder.path / "details.npz"))
    if lost and condition.checkpoint != epochs:
        name, problem = next(iter(lost.items()))
        raise DamagedFileError(folder.path / name, f"{problem}; no checkpoint to measure it again")
    condition.repairs.update(lost)


def _too_few(folder: TrialFolder, found: int, wanted: int) -> None:
    problem = f"has {found} of {wanted} epochs"
    raise DamagedFileError(folder.path / "metrics.jsonl", problem)


def _check_measures(folder: TrialFolder) -> None:
    path = folder.path / "evaluation.json"
    measures = folder.read_evaluation()
    if measures is None:
        raise DamagedFileError(path, "is missing")
    if not measures.keys() & set(FINAL_MEASURES):
        raise DamagedFileError(path, "holds no measure")


def _try(problems: dict[str, str], path: Path, read: Callable[[], Any]) -> Any:
    """Call ``read``; note what is wrong with ``path``, unless only its reader lacks permission."""
    try:
        return read()
    except DamagedFileError as error:
        if error.denied:
            raise
        problems[path.name] = error.problem
        return None


def repair(folder: TrialFolder, config: TrialConfig, warn: Callable[[str], None]) -> None:
    """Set aside what cannot be read and is rebuilt by this start. The process holds the claim.

    A lost status is written anew; a trial whose evaluation is lost is paused, so that it is
    measured again from its last checkpoint.

    Args:
        folder: The trial's folder.
        config: The trial.
        warn: Called with a line for each file.

    Raises:
        DamagedFileError: What was lost cannot be rebuilt; nothing was changed.
    """
    condition = examine(folder, config)
    if condition.damage:
        raise DamagedFileError(folder.path, f"is damaged: {condition.damage}", ADVICE)
    problems = dict(condition.repairs)
    _try(problems, folder.path / "starts.jsonl", folder.read_starts)
    _try(problems, folder.path / "timings.jsonl", folder.read_timings)
    if os.path.lexists(folder.path / "evaluation") and not (folder.path / "evaluation").is_dir():
        problems["evaluation"] = "is a file where a folder belongs"
    for name, problem in problems.items():
        kept = set_aside(folder.path / name)
        warn(f"{name} {problem}" + (f"; it is kept as {kept.name}" if kept else ""))
    status = condition.status
    remeasured = bool(problems.keys() & {"evaluation.json", "details.npz"})
    if status and (remeasured or "status.json" in problems):
        state = "paused" if remeasured else status.state
        error = status.error.model_dump() if status.error else None
        folder.write_status(state, status.epoch, status.epochs, error)


ADVICE = "To archive it and run it anew: care sweep run FILE --rerun-damaged"
