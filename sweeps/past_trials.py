"""The past trials of a store, with the time that each took in its process."""

from __future__ import annotations

import bisect
import contextlib
import socket
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from care.config import TrialConfig
from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder
from care.trials.pinned import trial_model
from care.trials.records import (
    ProvenanceRecord,
    StartRecord,
    StatusRecord,
    TimingRecord,
    TrialRecord,
)
from care.trials.state import State


@dataclass(frozen=True)
class PastTrial:
    """What a past trial took.

    Attributes:
        config: Its configuration.
        here: Whether this machine trained it.
        threads: Threads that it had.
        epoch_seconds: Median of its epochs after the first, which includes the warm-up. In a pack
            it is the trial's share of the process's time.
        end_seconds: Time from its last epoch to its end, in which it was evaluated.
        bytes: Size of its folder; None unless it is finished.
        is_whole: False if only its first steps were trained, to measure them.
    """

    config: TrialConfig
    here: bool
    threads: int
    epoch_seconds: float
    end_seconds: float | None
    bytes: int | None
    is_whole: bool = True


class _Logs(NamedTuple):
    """The logs of a past trial."""

    folder: TrialFolder
    trial: TrialRecord
    provenance: ProvenanceRecord
    timings: list[TimingRecord]
    starts: list[StartRecord]
    status: StatusRecord | None

    @property
    def process(self) -> tuple[str, object]:
        """The process of its last start."""
        last = self.starts[-1] if self.starts else None
        return (last.host, last.pid) if last and last.at else ("", self.folder.path)

    @property
    def finished(self) -> bool:
        return self.status is not None and self.status.state == State.FINISHED


class _Process:
    """What one process trained: several trials side by side share its time."""

    def __init__(self, members: Sequence[_Logs]) -> None:
        begins = (one.timings[0].finished_at - one.timings[0].seconds for one in members)
        self._begins = sorted(begins)
        self._ends = sorted(one.timings[-1].finished_at for one in members)
        ends = (_seconds_of(one.status.updated) for one in members if one.status and one.finished)
        self._evaluated = sorted(ends)

    def share(self, timing: TimingRecord) -> float:
        """Return a trial's share of the seconds of an epoch, which include the others' steps."""
        middle = timing.finished_at - timing.seconds / 2
        others = bisect.bisect_right(self._begins, middle) - bisect.bisect_left(self._ends, middle)
        return timing.seconds / max(1, others)

    def end_seconds(self, logs: _Logs) -> float | None:
        """Return the time of a trial's evaluation; None unless it is finished."""
        if not logs.status or not logs.finished:
            return None
        end = _seconds_of(logs.status.updated)
        # An evaluation may belong to a later start than the last epoch, and may wait for others.
        begins = [logs.timings[-1].finished_at, *(_seconds_of(one.at) for one in logs.starts)]
        before = bisect.bisect_left(self._evaluated, end)
        begins += self._evaluated[max(0, before - 1) : before]
        return max(0.0, end - max(begins))


def read_past(folders: Iterable[TrialFolder], device: str) -> Iterable[PastTrial]:
    """Yield what each trial took that has trained an epoch on a kind of device."""
    machine = socket.gethostname()
    logs = [one for folder in folders if (one := _read_logs(folder, device))]
    members: dict[tuple[str, object], list[_Logs]] = {}
    for one in logs:
        members.setdefault(one.process, []).append(one)
    processes = {name: _Process(some) for name, some in members.items()}
    for one in logs:
        process = processes[one.process]
        seconds = [process.share(timing) for timing in one.timings]
        with contextlib.suppress(ValidationError):  # e.g. of an older version
            yield PastTrial(
                trial_model(one.trial.config).model_validate(one.trial.config),
                one.provenance.hostname == machine,
                one.provenance.threads,
                statistics.median(seconds[1:] or seconds),
                process.end_seconds(one),
                _bytes_below(one.folder.path) if one.finished else None,
            )


def _read_logs(folder: TrialFolder, device: str) -> _Logs | None:
    """Read the logs of a trial; None if it trained no epoch on a device, or is damaged."""
    try:
        trial, timings = folder.read_trial(), folder.read_timings()
        provenance = folder.read_provenance()
        if not (trial and timings and provenance) or (provenance.device or "cpu") != device:
            return None
        starts, status = folder.read_starts(), folder.read_status()
    except DamagedFileError:
        return None
    return _Logs(folder, trial, provenance, timings, starts, status)


def _seconds_of(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
