"""The files of a submitted sweep, through which its head, its workers and users communicate.

===================== ====================== ==================================================
file                  type                   replaced by
===================== ====================== ==================================================
``request.json``      :class:`Request`       ``care sweep submit`` and ``care sweep cancel``
``head.json``         :class:`Head`          the head
``workers/*.json``    :class:`WorkerStatus`  the worker
``status.json``       :class:`PoolStatus`    the head, every few seconds
``token``             Ray's authentication   never; only this user can read it
===================== ====================== ==================================================

All but those of workers exist from the submission on and are read by content: on a shared folder a
new name may stay unseen for a minute, but a file that is opened is up to date.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import os
import secrets
from pathlib import Path
from typing import Literal

from care.config import Model
from care.errors import CareError
from care.system.files import DamagedFileError, DiskError, Writer, pack_json
from care.system.permissions import PRIVATE_FOLDER, adopt, make_folder, user_of
from care.trials.records import Record, read_record
from care.trials.state import State
from sweeps.backends.slurm.commands import QueuedJob
from sweeps.backends.slurm.config import ClusterConfig
from sweeps.progress import TrialProgress
from sweeps.store import Store

_SUBMIT_ADVICE = "Submit the sweep again."
_HEAD_ADVICE = "Delete it: a running head writes it again."


class HeadState(enum.StrEnum):
    """The state of a sweep's head; ``none`` before the first one."""

    NONE = "none"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class WorkerState(enum.StrEnum):
    """The state of a worker: waits for a head, has joined its Ray, leaves it, or has ended."""

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
    """The last submission of a sweep, or its cancellation.

    Attributes:
        cluster: The cluster file, resolved.
        workers: Range of the number of workers.
        cancel: Whether the sweep is cancelled.
        tracking_uri: MLflow server; None for the store's own file.
        report: Whether the head writes the report.
        folder: Working folder of the submission, for relative paths.
        code: Folder of the code snapshot.
        command: The command that resumes the sweep.
        only: ``--only`` of the submission: ``AXIS=VALUE[,VALUE]`` each.
        seeds: ``--seeds`` of the submission; None for all.
        plugins: Modules of ``CARE_PLUGINS``.
        store: Root of the store, below which trials get their paths in messages.
        slurm: Whether its workers are jobs; else those of an open run, which join by themselves.
    """

    cluster: ClusterConfig
    workers: Workers
    cancel: bool = False
    tracking_uri: str | None = None
    report: bool = True
    folder: str
    code: str
    command: str
    only: tuple[str, ...] = ()
    seeds: str | None = None
    plugins: tuple[str, ...] = ()
    store: str = ""
    slurm: bool = True


class Head(Record):
    """The state of a sweep's head, for its workers.

    Attributes:
        state: Its state.
        generation: Differs between one Ray and the next.
        address: ``host:port`` of Ray.
        job_id: SLURM's job; empty when the head is no job.
        left: Trials still to run or running.
        release: Jobs of the workers that may leave.
        versions: Those that each worker must have, e.g. ``ray 2.60.0``.
        threads: Cores of a trial.
        gpus: GPUs of a trial.
    """

    state: HeadState = HeadState.NONE
    generation: str = ""
    address: str = ""
    job_id: str = ""
    left: int = 0
    release: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    threads: int = 1
    gpus: float = 0.0

    def slots(self, cpus: int, gpus: int) -> int:
        """Count the trials that a worker with these cores and GPUs runs side by side."""
        fit = cpus // self.threads
        return min(fit, int(gpus / self.gpus)) if self.gpus else fit


class WorkerStatus(Record):
    """The state of a worker, for the head.

    Attributes:
        at: When it was written, in seconds since 1970.
        state: Its state.
        node: Name of its node.
        trials: Trials that train on its node.
        idle: Seconds since a trial last trained.
        cpus: Its cores.
        gpus: Its GPUs.
        joined: Whether it is no job of the sweep's (``care worker``).
        slots: Trials that it runs side by side; 0 without a head.
    """

    at: float
    state: WorkerState
    node: str = ""
    trials: tuple[str, ...] = ()
    idle: float = 0.0
    cpus: int = 0
    gpus: int = 0
    joined: bool = False
    slots: int = 0


class Best(Record):
    """The point with the best mean so far, over ``n`` seeds."""

    point: str
    mean: float
    n: int


class PoolStatus(Record):
    """The progress of a sweep at one moment, for ``care sweep status``.

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
        joined: The workers outside of it.
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
    joined: tuple[WorkerStatus, ...] = ()


class PoolFolder:
    """The folder of a submitted sweep's files.

    Attributes:
        store: The sweep's store, by an absolute path.
        writer: The driver's claim on the sweep, in the process that has it.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = Store(store.root.resolve()), name
        self.writer = Writer()
        self.path = (store.sweep(name).path / "pool").resolve()

    def prepare(self, request: Request) -> None:
        """Create the files of a submission; keep those of a running head or worker."""
        self._make_private()
        make_folder(self.path / "workers")
        make_folder(self.jobs)
        if not self.token.exists():
            self._make_token()
        self.write_request(request)
        if not (self.path / "head.json").exists():
            self.write_head(Head())

    def _make_private(self) -> None:
        """Make the folder private, also one of an earlier version: jobs run what lies in it.

        Raises:
            CareError: Another user submitted the sweep.
        """
        make_folder(self.path, PRIVATE_FOLDER)
        if self.path.stat().st_uid != os.geteuid():
            raise CareError(
                f"{self.path}: {user_of(self.path)} submitted this sweep; only they can submit it "
                "from this store. 'care sweep run' works, and so does another store (--store)."
            )
        adopt(self.path, shared=False)

    def _make_token(self) -> None:
        part = self.token.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        part.rename(self.token)

    @property
    def token(self) -> Path:
        """The file of Ray's token."""
        return self.path / "token"

    @property
    def jobs(self) -> Path:
        """The folder of submitit's files and the jobs' output."""
        return self.path / "jobs"

    @property
    def log(self) -> Path:
        """The log of the driver's lines for the user."""
        return self.path / "head.log"

    def job_name(self, role: Literal["head", "worker"]) -> str:
        """Return the name of the jobs in SLURM's queue; it differs between stores."""
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:6]
        return f"care-{self.name}-{digest}-{role}"

    def request(self) -> Request:
        """Read the last submission.

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
        """Replace the submission."""
        _write(self.path / "request.json", request, Writer())

    @property
    def submitted(self) -> bool:
        """Whether the sweep was ever submitted to a cluster, by any user."""
        return self.foreign or (self.path / "request.json").exists()

    @property
    def foreign(self) -> bool:
        """Whether another user submitted the sweep, whose files are theirs alone."""
        return os.path.lexists(self.path) and not os.access(
            self.path, os.R_OK | os.X_OK, effective_ids=True
        )

    def head(self) -> Head:
        """Read the head's last state; that of no head before the first one.

        Raises:
            DamagedFileError: The file is not what a head writes.
        """
        try:
            return read_record(self.path / "head.json", Head) or Head()
        except DamagedFileError as error:
            raise error if error.denied else error.with_advice(_HEAD_ADVICE) from error

    def write_head(self, head: Head) -> None:
        """Replace the head's state."""
        _write(self.path / "head.json", head, self.writer)

    def workers(self) -> dict[str, WorkerStatus]:
        """Read each worker's last state, by job or name."""
        workers = {}
        for path in sorted((self.path / "workers").glob("*.json")):
            with contextlib.suppress(DamagedFileError):  # the worker replaces it soon
                if status := read_record(path, WorkerStatus):
                    workers[path.stem] = status
        return workers

    def write_worker(self, name: str, status: WorkerStatus) -> None:
        """Replace a worker's state; write nothing while the shared folder is unavailable.

        Args:
            name: Its job, or a name of its own.
            status: The state.
        """
        with contextlib.suppress(DiskError):
            _write(self.path / "workers" / f"{name}.json", status, Writer())

    def remove_worker(self, name: str) -> None:
        """Remove the state of a worker that never returns under its name."""
        with contextlib.suppress(OSError):
            (self.path / "workers" / f"{name}.json").unlink()

    def status(self) -> PoolStatus | None:
        """Read the sweep's last status; None before the first one."""
        try:
            return read_record(self.path / "status.json", PoolStatus)
        except DamagedFileError:  # a running head replaces it soon
            return None

    def write_status(self, status: PoolStatus) -> None:
        """Replace the sweep's status."""
        _write(self.path / "status.json", status, self.writer)


def _write(path: Path, record: Record | Model, writer: Writer) -> None:
    writer.replace(path, pack_json(path, record.model_dump(mode="json")))
