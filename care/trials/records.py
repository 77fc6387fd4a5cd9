"""Parse the files of a store as typed records; an invalid file is refused by name and field."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

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
from care.registry import Kind
from care.system.files import DamagedFileError, parse_json, parse_lines, read_whole
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
    """A file, or a line of a log; additional fields of a newer version are kept."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")


class TrialRecord(Record):
    """``trial.json``: identity and configuration of a trial.

    Attributes:
        format: Version of the store's layout.
        trial_id: Hash of the configuration.
        group_id: Hash of the configuration without its seed.
        config: The configuration as JSON.
        created: Time of the first start.
    """

    format: int
    trial_id: str
    group_id: str
    config: dict[str, Any]
    created: Moment


class StoreRecord(Record):
    """``store.json``: identity of a store.

    Attributes:
        format: Version of the store's layout.
        uuid: Unique identity; see :mod:`sweeps.store_identity`.
        place: File URI of the store when it was last written.
        copied_from: Identity of the store of which it is a copy.
        access: Who may use its files; None in a store of an earlier version.
        group: The group that shares it.
    """

    format: int
    uuid: str | None = None
    place: str | None = None
    copied_from: str | None = None
    access: Literal["private", "group"] | None = None
    group: str | None = None


class SweepRecord(Record):
    """``sweep.json``: a sweep at its last start.

    Attributes:
        spec: Its declaration.
        base: The configuration that its trials share.
        paper: The paper's configuration, if the sweep reproduces one.
        file: File of the declaration.
        overrides: ``field=value`` of the command line.
        profile: The chosen profile.
        code_version: Hash of the code at the start.
        user: User who started the sweep.
        command: The command as typed, without passwords.
        git_commit: Commit of the code; None outside of git.
        created: Time of the first start.
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
    """``status.json``: state and progress of a trial.

    Attributes:
        state: The trial's state.
        epoch: Completed epochs.
        epochs: Configured number of epochs.
        updated: Time of the last change.
        error: Reason of a failure; None otherwise.
        checksums: Checksums of a finished trial's files by name; see
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
        """True if the trial is trained and evaluated."""
        return self.state == State.FINISHED


class PreprocessingRecord(Record):
    """How samples become a network's input, known without the data.

    Attributes:
        kind: ``images`` or ``points``; point clouds need nothing else.
        size: Height and width of the images in pixels.
        mean: Mean of each channel, in [0, 1], which is subtracted.
        std: Standard deviation of each channel, in [0, 1], by which images are divided.
    """

    kind: Kind
    size: tuple[PositiveInt, PositiveInt] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


class ProvenanceRecord(Record):
    """``provenance.json``: code, libraries, hardware and data of a trial's last start.

    Attributes:
        code_version: Hash of the code; see :mod:`care.trials.code_version`.
        git_commit: Commit of the code; None outside of git.
        git_dirty: The code had uncommitted changes.
        versions: Versions of the libraries by name.
        hostname: Name of the machine.
        cpu: Processor of the machine.
        device: Device type, ``cpu`` or ``cuda``.
        device_name: Name of the device's model.
        threads: Number of CPU threads.
        processes: Number of processes that trained together.
        precision: Resolved precision of the network.
        plugins: Hashes of the plugins' code, see :mod:`care.trials.plugin_versions`.
        data: Fingerprints by dotted field, see :func:`care.trials.staleness.by_field`.
        slurm_job: SLURM's number of the job; empty outside of SLURM.
        preprocessing: How samples become the network's input; None if only the data set knows it.
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
    plugins: dict[str, str] = {}
    data: dict[str, str] = {}
    slurm_job: str = ""
    preprocessing: PreprocessingRecord | None = None


class StartRecord(Record):
    """A line of ``starts.jsonl``: epoch and step at which a process started the trial."""

    at: str = ""
    host: str = ""
    pid: int = 0
    epoch: NonNegativeInt
    step: NonNegativeInt


class UsageRecord(Record):
    """The use of the machine in an epoch, as in :class:`care.system.usage.Usage`."""

    cpu_percent: NonNegativeFloat
    memory_megabytes: NonNegativeFloat | None = None
    gpu_percent: NonNegativeFloat | None = None
    gpu_memory_megabytes: NonNegativeFloat | None = None
    gpu_watts: NonNegativeFloat | None = None


class TimingRecord(Record):
    """A line of ``timings.jsonl``: wall time, throughput and use of the machine in an epoch.

    Attributes:
        epoch: Number of the epoch, from 1.
        seconds: Wall time.
        images_per_second: Throughput.
        finished_at: End of the epoch in seconds since 1970.
        usage: Use of the machine by the process, which other trials may share; None in a trial of
            an earlier version.
        monitor_seconds: Part of ``seconds`` that measuring held-out samples took; None in a trial
            of an earlier version.
    """

    epoch: PositiveInt
    seconds: NonNegativeFloat
    images_per_second: NonNegativeFloat
    finished_at: NonNegativeFloat
    usage: UsageRecord | None = None
    monitor_seconds: NonNegativeFloat | None = None


Values = dict[str, int | float]
"""Metrics or measures by name."""

_VALUES = TypeAdapter(Values, config=ConfigDict(strict=True))


def read_record(path: Path, kind: type[_Read]) -> _Read | None:
    """Return the record in ``path``, or None without a file.

    Raises:
        DamagedFileError: The file is damaged, or a field is missing or has another type.
    """
    content = read_whole(path)
    return None if content is None else parse_record(path, content, kind)


def parse_record(path: Path, content: bytes, kind: type[_Read]) -> _Read:
    """Parse the content of ``path`` as a record; see :func:`read_record`."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        parse_json(path, content)  # raises a clearer error if the content is no JSON object
        raise DamagedFileError(path, _first_problem(error)) from error


def read_values(path: Path) -> Values | None:
    """Return the numbers in ``path`` by name, or None without a file.

    Raises:
        DamagedFileError: The file is damaged, or a value is no number.
    """
    content = read_whole(path)
    return None if content is None else parse_values(path, content)


def parse_values(path: Path, content: bytes) -> Values:
    """Parse the content of ``path`` as numbers by name; see :func:`read_values`."""
    try:
        return _VALUES.validate_json(content)
    except ValidationError as error:
        parse_json(path, content)
        raise DamagedFileError(path, _first_problem(error)) from error


def read_records(path: Path, kind: type[_Read]) -> list[_Read]:
    """Return the records of a log, without a last line that a crash left unfinished.

    Raises:
        DamagedFileError: An earlier line is no such record.
    """
    return parse_records(path, read_whole(path) or b"", kind)


def parse_records(path: Path, content: bytes, kind: type[_Read]) -> list[_Read]:
    """Parse the content of ``path`` as the records of a log; see :func:`read_records`."""
    return list(_validated_lines(path, content, kind.model_validate))


def read_epochs(path: Path) -> list[Values]:
    """Return the numbers of a log with one line per epoch: 1, 2, 3 and so on.

    A repeated epoch with equal numbers counts once: in earlier versions a superseded process could
    write beside the next holder of the trial.

    Raises:
        DamagedFileError: A line is damaged, or an epoch is missing, out of order, or repeated with
            other numbers.
    """
    return parse_epochs(path, read_whole(path) or b"")


def parse_epochs(path: Path, content: bytes) -> list[Values]:
    """Parse the content of ``path`` as the numbers of each epoch; see :func:`read_epochs`."""
    epochs: list[Values] = []
    lines = _validated_lines(path, content, _VALUES.validate_python)
    for number, line in enumerate(lines, start=1):
        epoch, expected = line.get("epoch"), len(epochs) + 1
        if epoch == expected:
            epochs.append(line)
        elif epoch not in range(1, expected):
            got = "no epoch" if epoch is None else f"epoch {epoch}"
            raise DamagedFileError(path, f"line {number} has {got} where epoch {expected} belongs")
        elif repr(line) != repr(epochs[int(epoch) - 1]):  # as text, because NaN is unequal to NaN
            raise DamagedFileError(path, f"line {number} has other numbers for epoch {epoch}")
    return epochs


def parse_timings(path: Path, content: bytes) -> list[TimingRecord]:
    """Parse the content of ``path``, a line per epoch, in order; a later line counts.

    Raises:
        DamagedFileError: A line is no such record.
    """
    records = {record.epoch: record for record in parse_records(path, content, TimingRecord)}
    return [records[epoch] for epoch in sorted(records)]


def _validated_lines(path: Path, content: bytes, validate: Any) -> Iterator[Any]:
    for number, line in enumerate(parse_lines(path, content), start=1):
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
