"""A trial on disk: a folder of plain files, the one truth about it (DESIGN.md, invariant 1).

==================  =============================================================================
``trial.json``      format, identity and full configuration; written once
``provenance.json`` code version, library versions, device, threads, host; written at each start
``starts.jsonl``    one line a start: when, where, from which epoch and step
``status.json``     state, epoch, error; replaced
``metrics.jsonl``   one line an epoch: what the configuration determines, equal in every rerun
``timings.jsonl``   one line an epoch: what the machine did, different in every run
``details.npz``     arrays that figures are drawn from (:mod:`care.evaluation.final`), and notes
``evaluation.json`` the final measures
``checkpoint-*``    the last two checkpoints (:mod:`care.checkpoint`)
==================  =============================================================================
"""

from __future__ import annotations

import io
import itertools
import os
import socket
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from care.config import TrialConfig
from care.errors import CareError
from care.files import Writer, pack_json, pack_lines, read_json, read_lines
from care.identity import group_id, trial_id

FORMAT = 1
State = Literal["running", "paused", "finished", "failed"]


def now() -> str:
    """The time in UTC, to the microsecond, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class TrialFolder:
    """The files of one trial. Reading needs no claim; only the claim's holder may write.

    Attributes:
        path: The folder.
        writer: The trial's claim, where other processes may want to write, too. A write then
            raises :class:`care.claim.LostClaimError` once another process has taken over.
    """

    path: Path
    writer: Writer = field(default_factory=Writer, repr=False, compare=False)

    @property
    def trial_id(self) -> str:
        """The folder's name is the trial's identity."""
        return self.path.name

    def create(self, config: TrialConfig) -> None:
        """Make the folder with ``trial.json``; a folder that has it is left as it is.

        Raises:
            CareError: The folder was written by a newer version of this project.
        """
        existing = self.read_trial()
        if existing:
            check_format(existing["format"], self.path)
            return
        self.path.mkdir(parents=True, exist_ok=True)
        trial = {
            "format": FORMAT,
            "trial_id": trial_id(config),
            "group_id": group_id(config),
            "config": config.model_dump(mode="json"),
            "created": now(),
        }
        self._write_json("trial.json", trial)

    def read_trial(self) -> dict[str, Any]:
        """Identity and configuration, or an empty dict when the trial was never started."""
        return read_json(self.path / "trial.json") or {}

    def read_status(self) -> dict[str, Any] | None:
        """State, epoch and error, or None before the first start."""
        return read_json(self.path / "status.json")

    def write_status(
        self, state: State, epoch: int, epochs: int, error: dict[str, str] | None = None
    ) -> None:
        """Replace the state; ``error`` has ``kind``, ``message`` and ``traceback``."""
        status = {
            "state": state,
            "epoch": epoch,
            "epochs": epochs,
            "updated": now(),
            "error": error,
        }
        self._write_json("status.json", status)

    def read_provenance(self) -> dict[str, Any] | None:
        """What the trial last ran on and with, or None before the first start."""
        return read_json(self.path / "provenance.json")

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        """Record what the trial runs on and with."""
        self._write_json("provenance.json", provenance)

    def append_start(self, epoch: int, step: int) -> None:
        """Log that this process goes on after ``epoch`` whole epochs and ``step`` steps."""
        where = {"host": socket.gethostname(), "pid": os.getpid()}
        start = {"at": now(), **where, "epoch": epoch, "step": step}
        self.writer.append(self.path / "starts.jsonl", start)

    def read_starts(self) -> list[dict[str, Any]]:
        """One dict a start: ``at``, ``host``, ``pid``, ``epoch``, ``step``."""
        return read_lines(self.path / "starts.jsonl")

    def tries_at_this_place(self) -> int:
        """How often in a row the trial was started at the place where it was started last."""
        places = [(start["epoch"], start["step"]) for start in self.read_starts()]
        same = itertools.takewhile(lambda place: place == places[-1], reversed(places))
        return len(list(same))

    def read_metrics(self) -> list[dict[str, Any]]:
        """One dict an epoch, in order.

        Raises:
            CareError: An epoch has two different lines, which two processes wrote.
        """
        return _each_once(self.path / "metrics.jsonl", equal=True)

    def read_timings(self) -> list[dict[str, Any]]:
        """One dict an epoch, in order: seconds, images per second, time of its end."""
        return _each_once(self.path / "timings.jsonl", equal=False)

    def append_epoch(self, metrics: dict[str, Any], timing: dict[str, Any]) -> None:
        """Log one epoch. Timing first: an epoch stands once its metrics line does."""
        self.writer.append(self.path / "timings.jsonl", timing)
        self.writer.append(self.path / "metrics.jsonl", metrics)

    def rewind(self, epoch: int) -> None:
        """Forget what was logged after ``epoch``, which will be run again.

        The logs are new files afterwards: what an earlier holder of the claim still appends to the
        old ones is lost.
        """
        for name, read in (
            ("metrics.jsonl", self.read_metrics),
            ("timings.jsonl", self.read_timings),
        ):
            path = self.path / name
            if path.exists():
                kept = [record for record in read() if record["epoch"] <= epoch]
                self.writer.rewrite(path, pack_lines(kept))

    def read_evaluation(self) -> dict[str, float] | None:
        """The final measures, or None before the end."""
        return read_json(self.path / "evaluation.json")

    def write_evaluation(self, evaluation: dict[str, float]) -> None:
        """Record the final measures."""
        self._write_json("evaluation.json", evaluation)

    def read_details(self) -> dict[str, NDArray[Any]]:
        """The arrays that figures are drawn from, by name; none before the end.

        Raises:
            CareError: The file is damaged, which no crash of ours can cause.
        """
        path = self.path / "details.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except FileNotFoundError:
            return {}
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise CareError(f"{path}: damaged ({error})") from error

    def write_details(self, details: Mapping[str, NDArray[Any]]) -> None:
        """Record the arrays that figures are drawn from."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **details)  # type: ignore[arg-type]
        self.writer.replace(self.path / "details.npz", buffer.getvalue())

    def _write_json(self, name: str, value: Any) -> None:
        self.writer.replace(self.path / name, pack_json(value))


def _each_once(path: Path, *, equal: bool) -> list[dict[str, Any]]:
    """The last line of each epoch of a log, in order.

    Earlier versions let a process that had lost its trial go on beside the one that took over.
    """
    lines: dict[int, dict[str, Any]] = {}
    for line in read_lines(path):
        if equal and lines.get(line["epoch"], line) != line:
            raise CareError(
                f"{path}: two processes wrote different values for epoch {line['epoch']}; which "
                "are right cannot be known. Move the folder away to run the trial again."
            )
        lines[line["epoch"]] = line
    return [lines[epoch] for epoch in sorted(lines)]


def check_format(found: int, path: Path) -> None:
    """Refuse what a newer version wrote.

    Raises:
        CareError: ``found`` is newer than this code's :data:`FORMAT`.
    """
    if found > FORMAT:
        raise CareError(
            f"{path}: format {found} was written by a newer version of care; this one reads up to "
            f"format {FORMAT}. Update care, or choose another store with --store."
        )
