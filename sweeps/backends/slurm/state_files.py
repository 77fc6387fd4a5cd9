"""Typed files in a sweep's folder by which its head, its workers and people find each other.

===================== ====================== ==================================================
file                  type                   replaced by
===================== ====================== ==================================================
``request.json``      :class:`Request`       ``care sweep submit`` and ``care sweep cancel``
``head.json``         :class:`Head`          the head
``workers/JOB.json``  :class:`WorkerStatus`  the worker
``status.json``       :class:`PoolStatus`    the head, every few seconds
``token``             Ray's authentication   nobody; only this user can read it
===================== ====================== ==================================================

Every one of them exists from the submission on and is read by content: on a shared folder a new
name may stay unseen for a minute, but a file that is opened is up to date.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import os
import secrets
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from care.config import Model
from care.system.files import DamagedFileError, DiskError, Writer, pack_json
from care.trials.records import Record, read_record
from care.trials.state import State
from sweeps.backends.slurm.commands import QueuedJob
from sweeps.backends.slurm.config import ClusterConfig
from sweeps.progress import TrialProgress
from sweeps.store import Store

_SUBMIT_ADVICE = "Submit the sweep again."
_HEAD_ADVICE = "Delete it: a head that runs writes it again."


class HeadState(enum.StrEnum):
    """The state of a sweep's head; ``none`` before the first one."""

    NONE = "none"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class WorkerState(enum.StrEnum):
    """The state of a worker: without a head, in its Ray, about to leave it, or over."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSING = "pausing"
    LEFT = "left"


class Workers(Model):
    """The range of the number of workers that a sweep may have."""

    least: int
    most: int

    def __str__(self) -> str:
        """Format as on the command line."""
        return f"{self.least}:{self.most}"


class Request(Model):
    """What people want of a sweep's pool.

    Attributes:
        cluster: The cluster file, resolved.
        workers: How many.
        cancel: Whether it is to end.
        tracking_uri: MLflow server; None for the store's own file.
        folder: Working folder of the submission, for relative paths.
        code: Folder of the code snapshot.
        command: What to type to resume the sweep.
        only: ``AXIS=VALUE[,VALUE]`` each, where only a part of its trials is wanted.
        seeds: Seeds of that part; None for all.
    """

    cluster: ClusterConfig
    workers: Workers
    cancel: bool = False
    tracking_uri: str | None = None
    folder: str
    code: str
    command: str
    only: Annotated[tuple[str, ...], Field(strict=False)] = ()
    seeds: str | None = None


class Head(Record):
    """What a sweep's head writes for its workers.

    Attributes:
        state: Its state.
        generation: Differs between one Ray and the next.
        address: ``host:port`` of Ray.
        job_id: SLURM's job; empty when the head is no job.
        left: Trials still to run or running.
        release: Jobs of the workers that may leave.
    """

    state: HeadState = HeadState.NONE
    generation: str = ""
    address: str = ""
    job_id: str = ""
    left: int = 0
    release: tuple[str, ...] = ()


class WorkerStatus(Record):
    """What a worker writes for the head.

    Attributes:
        at: When it was written, in seconds since 1970.
        state: Its state.
        node: Name of its node.
        trials: Trials that train on its node.
        idle: Seconds since a trial last trained.
        cpus: Cores of its job.
        gpus: GPUs of its job.
    """

    at: float
    state: WorkerState
    node: str = ""
    trials: tuple[str, ...] = ()
    idle: float = 0.0
    cpus: int = 0
    gpus: int = 0


class Best(Record):
    """The point with the best mean so far, over ``n`` seeds."""

    point: str
    mean: float
    n: int


class PoolStatus(Record):
    """What the head writes for people: the sweep at one moment.

    Attributes:
        at: When it was written, in seconds since 1970.
        node: Name of the head's node.
        counts: Trials by state.
        running: Trials that train.
        metric: The sweep's metric.
        column: Metric that is shown of trials that train.
        best: The best point so far.
        left_out: Points that were not compared for it, and why.
        seconds_left: Estimated time until the sweep is complete.
        workers: The workers in SLURM's queue.
    """

    at: float
    node: str = "a node"
    counts: dict[State, int]
    running: tuple[TrialProgress, ...]
    metric: str
    column: str = ""
    best: Best | None
    left_out: str = ""
    seconds_left: float | None
    workers: tuple[QueuedJob, ...] = ()


class PoolFolder:
    """The pool's part of a sweep's folder.

    Attributes:
        store: The sweep's store, by an absolute path.
        writer: The driver's claim on the sweep, in the process that has it.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = Store(store.root.resolve()), name
        self.writer = Writer()
        self.path = (store.sweep(name).path / "pool").resolve()

    def prepare(self, request: Request) -> None:
        """Make every file for a submission; those of a running head or worker stay."""
        (self.path / "workers").mkdir(parents=True, exist_ok=True)
        self.jobs.mkdir(exist_ok=True)
        if not self.token.exists():
            self._make_token()
        self.write_request(request)
        if not (self.path / "head.json").exists():
            self.write_head(Head())

    def _make_token(self) -> None:
        part = self.token.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        part.rename(self.token)

    @property
    def token(self) -> Path:
        """File of Ray's token."""
        return self.path / "token"

    @property
    def jobs(self) -> Path:
        """Folder of submitit's files and the jobs' output."""
        return self.path / "jobs"

    @property
    def log(self) -> Path:
        """What the driver would have shown on a terminal."""
        return self.path / "head.log"

    def job_name(self, role: Literal["head", "worker"]) -> str:
        """Of the jobs in SLURM's queue; another store's sweep of the same name has another one."""
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:6]
        return f"care-{self.name}-{digest}-{role}"

    def request(self) -> Request:
        """Read what people want of the pool.

        Raises:
            DamagedFileError: The file is missing, or is not a request of this version.
        """
        path = self.path / "request.json"
        try:
            request = read_record(path, Request)
        except DamagedFileError as error:
            raise error if error.denied else error.with_advice(_SUBMIT_ADVICE) from error
        if request is None:
            raise DamagedFileError(path, "is missing", _SUBMIT_ADVICE)
        return request

    def write_request(self, request: Request) -> None:
        """Write what people want of the pool."""
        _write(self.path / "request.json", request, Writer())

    @property
    def submitted(self) -> bool:
        """Whether the sweep was ever submitted to a cluster."""
        return (self.path / "request.json").exists()

    def head(self) -> Head:
        """Read what the head wrote last.

        Raises:
            DamagedFileError: The file is not what a head writes.
        """
        try:
            return read_record(self.path / "head.json", Head) or Head()
        except DamagedFileError as error:
            raise error if error.denied else error.with_advice(_HEAD_ADVICE) from error

    def write_head(self, head: Head) -> None:
        """Replace what the head wrote."""
        _write(self.path / "head.json", head, self.writer)

    def workers(self) -> dict[str, WorkerStatus]:
        """Read what each worker wrote last, by job."""
        workers = {}
        for path in sorted((self.path / "workers").glob("*.json")):
            with contextlib.suppress(DamagedFileError):  # the worker replaces it soon
                if status := read_record(path, WorkerStatus):
                    workers[path.stem] = status
        return workers

    def write_worker(self, job_id: str, status: WorkerStatus) -> None:
        """Replace what a worker wrote; while the shared folder is away, write nothing."""
        with contextlib.suppress(DiskError):
            _write(self.path / "workers" / f"{job_id}.json", status, Writer())

    def status(self) -> PoolStatus | None:
        """Read the sweep's last status; None before the first one."""
        try:
            return read_record(self.path / "status.json", PoolStatus)
        except DamagedFileError:  # a head that runs replaces it soon
            return None

    def write_status(self, status: PoolStatus) -> None:
        """Replace the sweep's status."""
        _write(self.path / "status.json", status, self.writer)


def _write(path: Path, record: Record | Model, writer: Writer) -> None:
    writer.replace(path, pack_json(path, record.model_dump(mode="json")))
