"""The files by which the head, its workers and people find each other, in the sweep's folder.

``request.json``     what people want: workers, or an end; replaced by ``submit`` and ``cancel``
``head.json``        what the head says: Ray's address, what is left, who may leave; replaced by it
``workers/JOB.json`` what a worker says; replaced by it
``status.json``      the sweep as people see it; replaced by the head
``token``            Ray's authentication, readable by this user only

Every one of them exists from the submission on and is read by content: on a shared folder a new
name may stay unseen for a minute, but a file that is opened is up to date.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from care.config import Model
from care.system.files import DamagedFileError, DiskError, Writer, pack_json, read_json, write_json
from sweeps.backends.slurm.config import ClusterConfig
from sweeps.progress import TrialProgress
from sweeps.store import Store

HeadState = Literal["none", "running", "stopping", "ended"]
WorkerState = Literal["waiting", "running", "pausing", "left"]


class Workers(Model):
    """How many workers a sweep may have."""

    least: int
    most: int

    def __str__(self) -> str:
        """As on the command line."""
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


@dataclass(frozen=True)
class Head:
    """What the head says.

    Attributes:
        state: ``none`` before the first one.
        generation: Differs between one Ray and the next.
        address: ``host:port`` of Ray.
        job_id: SLURM's; empty when the head is no job.
        left: Trials still to run or running.
        release: Workers that may leave, by job.
    """

    state: HeadState = "none"
    generation: str = ""
    address: str = ""
    job_id: str = ""
    left: int = 0
    release: tuple[str, ...] = ()


class Best(BaseModel):
    """The point with the best mean so far."""

    point: str
    mean: float
    n: int


class Seen(BaseModel):
    """A sweep as its head saw it last: ``status.json``."""

    at: float
    counts: dict[str, int]
    running: list[TrialProgress]
    best: Best | None
    metric: str
    seconds_left: float | None


_HEAD = TypeAdapter(Head)


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
        """Make everything; what a running head or worker said stays."""
        (self.path / "workers").mkdir(parents=True, exist_ok=True)
        self.jobs.mkdir(exist_ok=True)
        if not self.token.exists():
            self._make_token()
        self.write_request(request)
        if self._read("head.json") is None:
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
        """What people want."""
        path = self.path / "request.json"
        try:
            return Request.model_validate(self._read(path.name))
        except ValidationError as error:
            problem = "is missing or not a request of this version"
            raise DamagedFileError(path, problem, "Submit the sweep again.") from error

    def write_request(self, request: Request) -> None:
        """Say what people want."""
        write_json(self.path / "request.json", request.model_dump(mode="json"))

    @property
    def submitted(self) -> bool:
        """Whether the sweep was ever submitted to a cluster."""
        return (self.path / "request.json").exists()

    def head(self) -> Head:
        """What the head says."""
        path = self.path / "head.json"
        try:
            return _HEAD.validate_python(self._read(path.name) or {})
        except ValidationError as error:
            advice = "Delete it: a head that runs writes it again."
            raise DamagedFileError(path, "is not what a head writes", advice) from error

    def write_head(self, head: Head) -> None:
        """Say it."""
        path = self.path / "head.json"
        self.writer.replace(path, pack_json(path, vars(head)))

    def write_worker(self, job_id: str, **facts: Any) -> None:
        """Say how a worker is; a shared folder that is away for a while delays it only."""
        with contextlib.suppress(DiskError):
            write_json(self.path / "workers" / f"{job_id}.json", {**facts, "at": time.time()})

    def workers(self) -> dict[str, dict[str, Any]]:
        """What each worker said last, by job; see :meth:`write_worker`'s callers."""
        found = {}
        for path in sorted((self.path / "workers").glob("*.json")):
            with contextlib.suppress(DamagedFileError):  # the worker replaces it soon
                found[path.stem] = read_json(path) or {}
        return found

    def status(self) -> dict[str, Any] | None:
        """The sweep as the head saw it last."""
        try:
            found: dict[str, Any] | None = self._read("status.json")
            Seen.model_validate(found or {})
            return found
        except (DamagedFileError, ValidationError):  # a head that runs replaces it soon
            return None

    def write_status(self, status: dict[str, Any]) -> None:
        """Replace that."""
        path = self.path / "status.json"
        self.writer.replace(path, pack_json(path, {**status, "at": time.time()}))

    def _read(self, name: str) -> Any:
        return read_json(self.path / name)
