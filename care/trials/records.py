"""The files of a store as typed records: each is read whole and right, or refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)

from care.config import Precision
from care.system.files import DamagedFileError, parse_json, read_lines, read_whole
from care.trials.state import RecordedState, State

_Read = TypeVar("_Read", bound=BaseModel)
_LONGEST_VALUE = 40


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("has no time zone")
    return text


Moment = Annotated[str, AfterValidator(_moment)]
"""A time in ISO 8601 with its zone."""


class Record(BaseModel):
    """A file, or a line of a log. What a newer version wrote beside the fields is kept."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")


class TrialRecord(Record):
    """``trial.json``: what a trial is.

    Attributes:
        format: Version of the store's layout.
        trial_id: Hash of the configuration.
        group_id: Hash of the configuration without its seed.
        config: The configuration, as JSON has it.
        created: When the trial was first started.
    """

    format: int
    trial_id: str
    group_id: str
    config: dict[str, Any]
    created: Moment


class StoreRecord(Record):
    """``store.json``: what a store is.

    Attributes:
        format: Version of its layout.
        uuid: Tells it from other stores; see :mod:`sweeps.store_identity`.
        place: Where it was last written, a file URI.
    """

    format: int
    uuid: str | None = None
    place: str | None = None


class SweepRecord(Record):
    """``sweep.json``: a sweep as it was last started.

    Attributes:
        spec: Its declaration.
        base: The configuration that its trials share.
        paper: The paper's configuration, where it reproduces something.
        file: Where it was declared.
        overrides: ``field=value`` of the command line.
        profile: The profile that was chosen.
        code_version: Hash of the code that started it.
        user: The user who started it.
        command: The command as typed, without passwords.
        git_commit: Of the code, where git had one.
        created: When it was first started.
    """

    spec: dict[str, Any]
    base: dict[str, Any]
    paper: dict[str, Any] | None = None
    file: str
    overrides: list[str] = []
    profile: str | None = None
    code_version: str = ""
    user: str = ""
    command: str = ""
    git_commit: str | None = None
    created: str = ""


class ErrorRecord(Record):
    """Why a trial failed; see :func:`care.trials.failure.describe`."""

    kind: str
    message: str
    traceback: str = ""


class StatusRecord(Record):
    """``status.json``: where a trial stands.

    Attributes:
        state: What the last process to write left it as.
        epoch: Completed epochs.
        epochs: Epochs that it wants.
        updated: When this was written.
        error: Why it failed; None otherwise.
        checksums: Of the files of a finished trial, by name; see
            :func:`care.system.files.checksum`.
    """

    state: RecordedState
    epoch: NonNegativeInt
    epochs: NonNegativeInt
    updated: Moment
    error: ErrorRecord | None = None
    checksums: dict[str, str] = {}

    @property
    def finished(self) -> bool:
        """Whether the trial is trained and measured."""
        return self.state == State.FINISHED


class ProvenanceRecord(Record):
    """``provenance.json``: what a trial last ran on and with; see :mod:`care.trials.provenance`.

    Attributes:
        code_version: Hash of the code.
        git_commit: Of the code, where git had one.
        git_dirty: Whether the code was edited since.
        versions: Of the libraries.
        hostname: Name of the machine.
        cpu: Its processor.
        device: ``cpu`` or ``cuda``.
        device_name: As the maker calls it.
        threads: CPU threads that numbers were summed with.
        processes: That trained it together.
        precision: That ``auto`` became.
        data: Fingerprints of the data by dotted field, as :func:`care.trials.staleness.by_field`
            has them.
    """

    code_version: str
    git_commit: str | None = None
    git_dirty: bool | None = None
    versions: dict[str, str] = {}
    hostname: str = ""
    cpu: str = ""
    device: str = ""
    device_name: str = ""
    threads: PositiveInt
    processes: PositiveInt = 1
    precision: Precision | None = None
    data: dict[str, str] = {}


class StartRecord(Record):
    """A line of ``starts.jsonl``: where a process resumed the trial."""

    at: str = ""
    host: str = ""
    pid: int = 0
    epoch: NonNegativeInt
    step: NonNegativeInt


class TimingRecord(Record):
    """A line of ``timings.jsonl``: what the machine did in an epoch.

    Attributes:
        epoch: Its number, from 1.
        seconds: Wall time.
        images_per_second: Throughput.
        finished_at: Its end in seconds since 1970.
    """

    epoch: PositiveInt
    seconds: NonNegativeFloat
    images_per_second: NonNegativeFloat
    finished_at: NonNegativeFloat


Values = dict[str, int | float]
"""Metrics or measures by name."""

_VALUES = TypeAdapter(Values, config=ConfigDict(strict=True))


def read_record(path: Path, kind: type[_Read]) -> _Read | None:
    """Return the record in ``path``, or None when nothing is there.

    Raises:
        DamagedFileError: Something else is there, a field is missing or has another type.
    """
    content = read_whole(path)
    return None if content is None else parse_record(path, content, kind)


def parse_record(path: Path, content: bytes, kind: type[_Read]) -> _Read:
    """Return the record that ``content`` of ``path`` holds; see :func:`read_record`."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        parse_json(path, content)  # names what is no JSON object at all
        raise DamagedFileError(path, _first_problem(error)) from error


def read_values(path: Path) -> Values | None:
    """Return the numbers in ``path`` by name, or None when nothing is there.

    Raises:
        DamagedFileError: Something else is there.
    """
    content = read_whole(path)
    if content is None:
        return None
    try:
        return _VALUES.validate_json(content)
    except ValidationError as error:
        parse_json(path, content)
        raise DamagedFileError(path, _first_problem(error)) from error


def read_records(path: Path, kind: type[_Read]) -> list[_Read]:
    """Return the records of a log, without a last line that a crash left unfinished.

    Raises:
        DamagedFileError: A line before the last one is something else.
    """
    return list(_each(path, kind.model_validate))


def read_epochs(path: Path) -> list[Values]:
    """Return the numbers of a log that has a line an epoch: 1, 2, 3 and so on.

    An epoch that stands twice with equal numbers counts once: earlier versions let a process that
    had lost its trial write beside the one that took over.

    Raises:
        DamagedFileError: A line is something else, an epoch is missing or out of order, or stands
            twice with different numbers.
    """
    epochs: list[Values] = []
    for number, line in enumerate(_each(path, _VALUES.validate_python), start=1):
        epoch, wanted = line.get("epoch"), len(epochs) + 1
        if epoch == wanted:
            epochs.append(line)
        elif epoch not in range(1, wanted):
            got = "no epoch" if epoch is None else f"epoch {epoch}"
            raise DamagedFileError(path, f"line {number} has {got} where epoch {wanted} belongs")
        elif repr(line) != repr(epochs[int(epoch) - 1]):  # unlike values, NaN equals NaN as text
            raise DamagedFileError(path, f"line {number} has other numbers for epoch {epoch}")
    return epochs


def read_timings(path: Path) -> list[TimingRecord]:
    """Return the records of a log that has a line an epoch, in order.

    Raises:
        DamagedFileError: A line is something else.
    """
    records = {record.epoch: record for record in read_records(path, TimingRecord)}
    return [records[epoch] for epoch in sorted(records)]


def _each(path: Path, validate: Any) -> Iterator[Any]:
    for number, line in enumerate(read_lines(path), start=1):
        try:
            yield validate(line)
        except ValidationError as error:
            raise DamagedFileError(path, f"line {number}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"has no field {field!r}"
    value = repr(first["input"])
    if len(value) > _LONGEST_VALUE:
        value = f"{value[:_LONGEST_VALUE]}…"
    return f"field {field!r}: got {value}; {first['msg']}"
