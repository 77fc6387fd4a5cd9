"""The run store: trials and sweeps on disk."""

from __future__ import annotations

import math
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from care.claim import Claim, holder
from care.config import TrialConfig
from care.errors import CareError
from care.files import DamagedFileError, append_line, read_json, read_lines, write_json
from care.machines import Machine
from care.records import StoreRecord, read_record
from care.staleness import Versions
from care.trial_folder import TrialFolder, check_format, now
from sweeps.store_identity import settle_identity

PlanState = Literal["new", "paused", "cached", "running", "failed", "stale", "stopped", "damaged"]

_STORE_ADVICE = (
    "It says how the store is laid out. Restore it from a copy; or delete it, and the next run "
    "writes it anew. The trials stay as they are."
)


class Store:
    """Trials by identity and sweeps by name under one root. Opening it writes nothing.

    Raises:
        CareError: No store can be at ``root``, or a newer version of this project wrote it.
        DamagedFileError: ``store.json`` cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        _check_place(root)
        try:
            record = read_record(root / "store.json", StoreRecord)
        except DamagedFileError as error:
            raise error if error.denied else error.with_advice(_STORE_ADVICE) from error
        if record:
            check_format(record.format, root)

    def prepare(self, say: Callable[[str], None] = print) -> str:
        """Make the folders and the store's identity; called before the first write.

        Args:
            say: Called with a line for the user when the store is a copy of another one.

        Returns:
            The store's uuid.

        Raises:
            CareError: The folder cannot be made or written.
        """
        try:
            self.trials.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CareError(
                f"{self.root}: cannot make the store here ({error.strerror})"
            ) from error
        return str(settle_identity(self.root, say)["uuid"])

    @property
    def trials(self) -> Path:
        """The folder of the trials' folders."""
        return self.root / "trials"

    def trial(self, trial_id: str) -> TrialFolder:
        """The folder of one trial, whether it exists or not."""
        return TrialFolder(self.trials / trial_id)

    def all_trials(self) -> Iterator[TrialFolder]:
        """Every trial that was ever started, by identity."""
        for path in sorted(self.trials.glob("*/trial.json")):
            yield TrialFolder(path.parent)

    def sweep(self, name: str) -> SweepFolder:
        """The folder of one sweep, whether it exists or not."""
        return SweepFolder(self.root / "sweeps" / name)

    def all_sweeps(self) -> Iterator[SweepFolder]:
        """Every sweep that was ever started, by name."""
        for path in sorted((self.root / "sweeps").glob("*/sweep.json")):
            yield SweepFolder(path.parent)

    def archive(self, trial_id: str) -> Path | None:
        """Move a trial's folder out of the way, so that it is run anew; nothing is deleted.

        Returns:
            Where it went, or None when another process holds the trial.
        """
        folder = self.trials / trial_id
        claim = Claim.take(folder)
        if claim is None:
            return None
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        target = self.root / "archive" / f"{trial_id}-{stamp}"
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
        claim.release()
        return target


def _check_place(root: Path) -> None:
    try:
        is_folder = stat.S_ISDIR(root.stat().st_mode)
    except FileNotFoundError:
        if not root.is_symlink():
            return
        raise CareError(f"{root}: no store can be here (a link to nothing)") from None
    except OSError as error:
        raise CareError(f"{root}: no store can be here ({error.strerror})") from error
    if not is_folder:
        raise CareError(f"{root}: no store can be here (Not a directory)")


class SweepFolder:
    """A sweep's declaration, its log of decisions and its report."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.path.name

    @property
    def report(self) -> Path:
        """The folder of the report."""
        return self.path / "report"

    def read(self) -> dict[str, Any] | None:
        """The declaration as last started, or None."""
        return read_json(self.path / "sweep.json")

    def write(self, declaration: dict[str, Any]) -> None:
        """Record the declaration of a sweep that starts; ``created`` stays as it was."""
        self.path.mkdir(parents=True, exist_ok=True)
        before = self.read() or {}
        write_json(
            self.path / "sweep.json", {**declaration, "created": before.get("created", now())}
        )

    def events(self) -> list[dict[str, Any]]:
        """The lines of the log of decisions (:mod:`sweeps.decisions`), in order."""
        return read_lines(self.path / "events.jsonl")

    def log(self, event: dict[str, Any]) -> None:
        """Append a decision before it takes effect, so that a crash cannot forget it."""
        append_line(self.path / "events.jsonl", event)


@dataclass(frozen=True)
class TrialStatus:
    """The state of one trial in the store, as a plan shows it.

    Attributes:
        state: A paused trial resumes from a checkpoint; a stale one has numbers,
            finished or not, that rest on something else than they would today; a damaged one has
            files that cannot be read.
        epoch: Completed epochs.
        reason: Why the trial is failed, stale or damaged; empty otherwise.
        machine: What it was trained on, where its numbers count.
    """

    state: PlanState
    epoch: int = 0
    reason: str = ""
    machine: Machine | None = None


def trial_status(folder: TrialFolder, versions: Versions, config: TrialConfig) -> TrialStatus:
    """Read the state of a trial.

    Args:
        folder: The trial's folder.
        versions: Code and data whose results count.
        config: The trial's configuration as it is planned now.
    """
    status = folder.read_status()
    epoch = 0 if status is None else status.epoch
    if (status is None or status.state != "finished") and holder(folder.path):
        return TrialStatus("running", epoch)
    if status is None:
        return TrialStatus("new")
    machine = None
    if status.state == "finished" or epoch or folder.has_checkpoint():
        provenance = folder.read_provenance()
        reason = versions.why_stale(provenance, config)
        if reason:
            return TrialStatus("stale", epoch, reason)
        machine = Machine.of(provenance)
    if status.state == "finished":
        return TrialStatus("cached", epoch, machine=machine)
    if status.state == "failed":
        return TrialStatus("failed", epoch, status.error.message if status.error else "")
    return TrialStatus("paused" if machine else "new", epoch, machine=machine)


def final_value(folder: TrialFolder, metric: str) -> float | None:
    """A finished trial's value of ``metric``; None where it has none that is finite."""
    metrics = folder.read_metrics()
    measures = {**(metrics[-1] if metrics else {}), **(folder.read_evaluation() or {})}
    return finite(measures.get(metric))


def finite(value: float | None) -> float | None:
    """``value``, or None where it cannot be compared with others."""
    return value if value is not None and math.isfinite(value) else None
