"""A trial on disk: a folder of plain files, the truth about it (docs/architecture.md, invariant 1).

==================  =============================================================================
``trial.json``      format, identity and full configuration; written once
``provenance.json`` code version, library versions, device, threads, host; written at each start
``starts.jsonl``    one line a start: when, where, from which epoch and step
``status.json``     state, epoch, error; replaced
``metrics.jsonl``   one line an epoch: what the configuration determines, equal in every rerun
``timings.jsonl``   one line an epoch: what the machine did, different in every run
``details.npz``     arrays that figures are drawn from (:mod:`care.evaluation.evaluate`), and notes
``evaluation.json`` the final measures
``checkpoint-*``    the last two checkpoints (:mod:`care.trials.checkpoint`)
==================  =============================================================================
"""

from __future__ import annotations

import io
import itertools
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care.config import TrialConfig
from care.errors import CareError
from care.system.arrays import read_arrays
from care.system.files import Writer, checksum, pack_json, pack_lines, read_lines, read_whole
from care.trials.identity import group_id, trial_id
from care.trials.records import (
    ErrorRecord,
    ProvenanceRecord,
    Record,
    StartRecord,
    StatusRecord,
    TimingRecord,
    TrialRecord,
    Values,
    read_epochs,
    read_record,
    read_records,
    read_timings,
    read_values,
)
from care.trials.state import RecordedState, State

FORMAT = 1
SEALED = ("provenance.json", "metrics.jsonl", "evaluation.json", "details.npz")
"""Files of a finished trial whose checksums its status has."""


def now() -> str:
    """The time in UTC, to the microsecond, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class TrialFolder:
    """The files of one trial. Reading needs no claim; only the claim's holder may write.

    Attributes:
        path: The folder.
        writer: The trial's claim, where other processes may want to write, too. A write then
            raises :class:`care.system.claim.LostClaimError` once another process has taken over.
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
            check_format(existing.format, self.path)
            return
        self.path.mkdir(parents=True, exist_ok=True)
        trial = TrialRecord(
            format=FORMAT,
            trial_id=trial_id(config),
            group_id=group_id(config),
            config=config.model_dump(mode="json"),
            created=now(),
        )
        self._write_record("trial.json", trial)

    def read_trial(self) -> TrialRecord | None:
        """Return identity and configuration, or None when the trial was never started."""
        return read_record(self.path / "trial.json", TrialRecord)

    def read_status(self) -> StatusRecord | None:
        """Return state, epoch and error, or None before the first start."""
        return read_record(self.path / "status.json", StatusRecord)

    def write_status(
        self, state: RecordedState, epoch: int, epochs: int, error: ErrorRecord | None = None
    ) -> None:
        """Replace the state; a finished trial's has the checksums of the files with its numbers."""
        status = StatusRecord(state=state, epoch=epoch, epochs=epochs, updated=now(), error=error)
        if state == State.FINISHED:
            status = status.model_copy(update={"checksums": self._checksums()})
        self._write_record("status.json", status)

    def _checksums(self) -> dict[str, str]:
        contents = {name: read_whole(self.path / name) for name in SEALED}
        return {name: checksum(content) for name, content in contents.items() if content}

    def read_provenance(self) -> ProvenanceRecord | None:
        """Return what the trial last ran on and with, or None before the first start."""
        return read_record(self.path / "provenance.json", ProvenanceRecord)

    def write_provenance(self, provenance: ProvenanceRecord) -> None:
        """Record what the trial runs on and with."""
        self._write_record("provenance.json", provenance)

    def has_checkpoint(self) -> bool:
        """Whether a training can resume here, perhaps within its first epoch."""
        return any(self.path.glob("checkpoint-*.pt"))

    def append_start(self, epoch: int, step: int) -> None:
        """Log that this process goes on after ``epoch`` whole epochs and ``step`` steps."""
        start = StartRecord(
            at=now(), host=socket.gethostname(), pid=os.getpid(), epoch=epoch, step=step
        )
        self.writer.append(self.path / "starts.jsonl", start.model_dump())

    def read_starts(self) -> list[StartRecord]:
        """Return one record a start."""
        return read_records(self.path / "starts.jsonl", StartRecord)

    def tries_at_this_place(self) -> int:
        """How often in a row the trial was started at the place where it was started last."""
        places = [(start.epoch, start.step) for start in self.read_starts()]
        same = itertools.takewhile(lambda place: place == places[-1], reversed(places))
        return len(list(same))

    def read_metrics(self) -> list[Values]:
        """Return one dict an epoch, in order, without a gap."""
        return read_epochs(self.path / "metrics.jsonl")

    def read_timings(self) -> list[TimingRecord]:
        """Return one record an epoch, in order."""
        return read_timings(self.path / "timings.jsonl")

    def append_epoch(self, metrics: dict[str, Any], timing: TimingRecord) -> None:
        """Log one epoch. Timing first: an epoch stands once its metrics line does."""
        self.writer.append(self.path / "timings.jsonl", timing.model_dump())
        self.writer.append(self.path / "metrics.jsonl", metrics)

    def rewind(self, epoch: int) -> None:
        """Forget what was logged after ``epoch``, which will be run again.

        The logs are new files afterwards: what an earlier holder of the claim still appends to the
        old ones is lost.
        """
        metrics = [line for line in self.read_metrics() if line["epoch"] <= epoch]
        path = self.path / "timings.jsonl"
        timings = {line["epoch"]: line for line in read_lines(path) if line["epoch"] <= epoch}
        for name, kept in (("metrics.jsonl", metrics), ("timings.jsonl", timings.values())):
            path = self.path / name
            if path.exists():
                self.writer.rewrite(path, pack_lines(path, kept))

    def read_evaluation(self) -> Values | None:
        """Return the final measures, or None before the end."""
        return read_values(self.path / "evaluation.json")

    def write_evaluation(self, evaluation: dict[str, float]) -> None:
        """Record the final measures."""
        self._write_json("evaluation.json", evaluation)

    def read_details(self) -> dict[str, NDArray[Any]]:
        """The arrays that figures are drawn from, by name; none before the end.

        Raises:
            DamagedFileError: The file is damaged, which no crash of ours can cause.
        """
        return read_arrays(self.path / "details.npz") or {}

    def write_details(self, details: Mapping[str, NDArray[Any]]) -> None:
        """Record the arrays that figures are drawn from."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **details)  # type: ignore[arg-type]
        self.writer.replace(self.path / "details.npz", buffer.getvalue())

    def _write_record(self, name: str, record: Record) -> None:
        self._write_json(name, record.model_dump(mode="json", exclude_unset=True))

    def _write_json(self, name: str, value: Any) -> None:
        path = self.path / name
        self.writer.replace(path, pack_json(path, value))


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
