"""Read and write the files of a trial, the only truth about it (docs/architecture.md, invariant 1).

==================  =============================================================================
``trial.json``      format, identity and full configuration; written once
``provenance.json`` code version, library versions, device, threads, host; written at each start
``starts.jsonl``    one line per start: time, host, epoch and step
``status.json``     state, epoch, error; replaced
``metrics.jsonl``   one line per epoch: metrics, which are equal in every rerun
``timings.jsonl``   one line per epoch: wall time and throughput, which differ in every run
``details.npz``     arrays for figures (:mod:`care.evaluation.evaluate`), and notes
``evaluation.json`` the final measures
``log.txt``         what its processes did, for people (:mod:`care.trials.log`)
``checkpoint-*``    the last two checkpoints (:mod:`care.trials.checkpoint`)
``weights-*``       the trained network alone, in place of a finished trial's checkpoints
==================  =============================================================================
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from care.config import TrialConfig
from care.errors import CareError
from care.system.arrays import parse_arrays
from care.system.files import (
    DamagedFileError,
    Writer,
    checksum,
    pack_json,
    pack_lines,
    read_lines,
    read_whole,
)
from care.system.permissions import make_folder
from care.system.redaction import redact
from care.trials.identity import identities
from care.trials.log import log_text, read_log
from care.trials.log_lines import (
    describe_end,
    describe_epoch,
    describe_measures,
    describe_provenance,
    describe_start,
)
from care.trials.records import (
    ErrorRecord,
    ProvenanceRecord,
    Record,
    StartRecord,
    StatusRecord,
    TimingRecord,
    TrialRecord,
    Values,
    parse_epochs,
    parse_record,
    parse_records,
    parse_timings,
    parse_values,
)
from care.trials.state import RecordedState, State

FORMAT = 1
CHECKPOINTS = "checkpoint-*.pt"
CHECKPOINT_NAME = re.compile(r"checkpoint-(\d{6})-(\d{6})-([0-9a-f]{16})\.pt")
"""Name of a checkpoint: completed epochs, completed steps of the next one, digest."""
WEIGHTS = "weights-*.pt"
WEIGHTS_NAME = re.compile(r"weights-(\d{6})-([0-9a-f]{16})\.pt")
"""Name of a file with the network alone: completed epochs, digest."""
SEALED = ("provenance.json", "metrics.jsonl", "evaluation.json", "details.npz")
"""Files of a finished trial with checksums in its status."""

_Parsed = TypeVar("_Parsed")
_TRIAL = functools.partial(parse_record, kind=TrialRecord)
_STATUS = functools.partial(parse_record, kind=StatusRecord)
_PROVENANCE = functools.partial(parse_record, kind=ProvenanceRecord)
_STARTS = functools.partial(parse_records, kind=StartRecord)


def now() -> str:
    """Return the time in UTC, to the microsecond, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class TrialFolder:
    """The files of one trial. All processes may read; only the claim's holder may write.

    Attributes:
        path: The folder.
        writer: The trial's claim, if it has several potential writers. A write then raises
            :class:`care.system.claim.LostClaimError` once another process has taken over.
    """

    path: Path
    writer: Writer = field(default_factory=Writer, repr=False, compare=False)

    @property
    def trial_id(self) -> str:
        """The trial's identity, which is the folder's name."""
        return self.path.name

    def create(self, config: TrialConfig) -> None:
        """Create the folder and ``trial.json``, unless it exists.

        Raises:
            CareError: A newer version of this project wrote the folder.
        """
        existing = self.read_trial()
        if existing:
            check_format(existing.format, self.path)
            return
        make_folder(self.path)
        trial, group = identities(config)
        record = TrialRecord(
            format=FORMAT,
            trial_id=trial,
            group_id=group,
            config=config.model_dump(mode="json"),
            created=now(),
        )
        self._write_record("trial.json", record)

    def read_trial(self) -> TrialRecord | None:
        """Return identity and configuration, or None before the first start."""
        return self._read("trial.json", _TRIAL)

    def read_status(self) -> StatusRecord | None:
        """Return state, epoch and error, or None before the first start."""
        return self._read("status.json", _STATUS)

    def write_status(
        self, state: RecordedState, epoch: int, epochs: int, error: ErrorRecord | None = None
    ) -> None:
        """Replace the status; that of a finished trial gets the checksums of :data:`SEALED`.

        Args:
            state: The trial's state.
            epoch: Completed epochs.
            epochs: Configured number of epochs.
            error: Reason of a failure; its secrets are removed.
        """
        if error:
            changes = {"message": redact(error.message), "traceback": redact(error.traceback)}
            error = error.model_copy(update=changes)
        status = StatusRecord(state=state, epoch=epoch, epochs=epochs, updated=now(), error=error)
        if state == State.FINISHED:
            status = status.model_copy(update={"checksums": self._checksums()})
        self._write_record("status.json", status)
        self._log_status(status)

    def _log_status(self, status: StatusRecord) -> None:
        if status.state != State.RUNNING:
            starts: list[StartRecord] = []
            with contextlib.suppress(DamagedFileError):
                starts = self.read_starts()
            self.log(describe_end(status, starts))
        elif status.epoch == status.epochs:
            self.log("evaluation")

    def _checksums(self) -> dict[str, str]:
        contents = {name: read_whole(self.path / name) for name in SEALED}
        return {name: checksum(content) for name, content in contents.items() if content}

    def read_provenance(self) -> ProvenanceRecord | None:
        """Return code, libraries, hardware and data of the last start, or None before the first."""
        return self._read("provenance.json", _PROVENANCE)

    def write_provenance(self, provenance: ProvenanceRecord) -> None:
        """Record code, libraries, hardware and data of a start."""
        self._write_record("provenance.json", provenance)
        self.log(describe_provenance(provenance))

    def has_checkpoint(self) -> bool:
        """Check for a checkpoint to resume from, even of the first epoch, or trained weights."""
        return any(self.path.glob(CHECKPOINTS)) or any(self.path.glob(WEIGHTS))

    def append_start(self, epoch: int, step: int) -> None:
        """Log that this process starts after ``epoch`` epochs and ``step`` steps of the next."""
        start = StartRecord(
            at=now(), host=socket.gethostname(), pid=os.getpid(), epoch=epoch, step=step
        )
        self.writer.append(self.path / "starts.jsonl", start.model_dump())
        self.log(describe_start(start))

    def read_starts(self) -> list[StartRecord]:
        """Return one record per start."""
        return self._read("starts.jsonl", _STARTS) or []

    def count_starts_without_progress(self) -> int:
        """Count the last consecutive starts from one epoch and step."""
        steps = [(start.epoch, start.step) for start in self.read_starts()]
        return len(list(itertools.takewhile(lambda step: step == steps[-1], reversed(steps))))

    def read_metrics(self) -> list[Values]:
        """Return one dict per epoch, in order, without a gap."""
        return self._read("metrics.jsonl", parse_epochs) or []

    def read_timings(self) -> list[TimingRecord]:
        """Return one record per epoch, in order."""
        return self._read("timings.jsonl", parse_timings) or []

    def append_epoch(self, metrics: Values, timing: TimingRecord) -> None:
        """Log one epoch; it counts as logged once its metrics are written, so they come last."""
        self.writer.append(self.path / "timings.jsonl", timing.model_dump(exclude_none=True))
        self.writer.append(self.path / "metrics.jsonl", metrics)
        self.log(describe_epoch(metrics, timing))

    def rewind(self, epoch: int) -> None:
        """Remove the log lines after ``epoch``, from which the training resumes.

        The logs become new files: an earlier holder of the claim can append only to the old ones.
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
        return self._read("evaluation.json", parse_values)

    def write_evaluation(self, evaluation: dict[str, float]) -> None:
        """Record the final measures."""
        self._write_json("evaluation.json", evaluation)
        self.log(describe_measures(evaluation))

    def read_details(self) -> Mapping[str, NDArray[Any]]:
        """Return the arrays for figures by name; empty before the end.

        Raises:
            DamagedFileError: The file is damaged; an interrupted write cannot cause that.
        """
        return self._read("details.npz", parse_arrays) or {}

    def write_details(self, details: Mapping[str, NDArray[Any]]) -> None:
        """Record the arrays for figures."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **details)  # type: ignore[arg-type]
        self.writer.replace(self.path / "details.npz", buffer.getvalue())

    def log(self, text: str) -> None:
        """Append to the trial's log; see :func:`care.trials.log.log_text`. Never raises."""
        log_text(self.path, self.writer, text)

    def read_log(self) -> str:
        """Return the trial's log; empty without one.

        Raises:
            DamagedFileError: The path is no regular file, or not readable.
        """
        return read_log(self.path)

    def _read(self, name: str, parse: Callable[[Path, bytes], _Parsed]) -> _Parsed | None:
        """Read and parse a file; None without it."""
        path = self.path / name
        content = read_whole(path)
        return None if content is None else parse(path, content)

    def _write_record(self, name: str, record: Record) -> None:
        self._write_json(name, record.model_dump(mode="json", exclude_unset=True))

    def _write_json(self, name: str, value: Any) -> None:
        path = self.path / name
        self.writer.replace(path, pack_json(path, value))


def check_format(version: int, path: Path) -> None:
    """Check that this code can read a version of the file format.

    Raises:
        CareError: The version is newer than this code's :data:`FORMAT`.
    """
    if version > FORMAT:
        raise CareError(
            f"{path}: format {version} was written by a newer version of care; this one reads up "
            f"to format {FORMAT}. Update care, or choose another store with --store."
        )
