"""The status of a submitted sweep, read from its files, its trials and SLURM's queue."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from care.errors import CareError
from care.trials.records import SweepRecord
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.account import AccountRecord, describe_stopped, read_account
from sweeps.backends.slurm import commands
from sweeps.backends.slurm.commands import QueuedJob
from sweeps.backends.slurm.job_output import last_error
from sweeps.backends.slurm.state_files import (
    Head,
    HeadState,
    PoolFolder,
    PoolStatus,
    Request,
    WorkerStatus,
)
from sweeps.holds import read_holds
from sweeps.inventory import SweepReader
from sweeps.progress import TrialProgress
from sweeps.spec.schema import SweepSpec
from sweeps.spec.sweep import restore_sweep
from sweeps.states import MEANING
from sweeps.store import SweepFolder
from sweeps.sweep_view import SweepView

SILENT_SECONDS = 30.0
"""Age of a head's last status from which on the head counts as silent."""


@dataclass(frozen=True)
class SweepStatus:
    """A submitted sweep at one moment.

    Attributes:
        name: The sweep's.
        request: Its last submission.
        head: The state of its head.
        heads: The head's jobs in SLURM's queue; None if SLURM does not answer here.
        workers: The workers' jobs in SLURM's queue; None if SLURM does not answer here.
        counts: Trials by state.
        running: Trials that train.
        last: The head's last status; None before the first one.
        age: Seconds since the last status; None before the first one.
        error: The last error of the jobs' output, if none of them works.
        account: Its hours, and the limit that ended its last run.
        hours: The hours in words; empty without any.
        stopped: Why the last run stopped early, and how to continue; empty if it did not.
        view: Its trials; None where the head's last status has all that people see.
    """

    name: str
    request: Request
    head: Head
    heads: list[QueuedJob] | None
    workers: list[QueuedJob] | None
    counts: dict[State, int]
    running: Sequence[TrialProgress]
    last: PoolStatus | None
    age: float | None
    error: str = ""
    account: AccountRecord = field(default_factory=AccountRecord)
    hours: str = ""
    stopped: str = ""
    view: SweepView | None = None

    @property
    def fresh(self) -> bool:
        """Whether the last status is that of a head that runs and is not silent."""
        return _writes(self.head, self.age)

    @property
    def seconds_left(self) -> float | None:
        """Estimated time until the sweep is complete; None if it is unknown."""
        if self.view and not self.fresh:
            return self.view.seconds_left()
        return self.last.seconds_left if self.last else None

    @property
    def joined(self) -> tuple[WorkerStatus, ...]:
        """The workers outside of SLURM's queue, as a running head sees them."""
        return self.last.joined if self.last and self.fresh else ()

    @property
    def active(self) -> bool:
        """Whether a head runs, or waits in the queue."""
        if self.heads is not None and any(job.present for job in self.heads):
            return True
        return self.fresh

    @property
    def complete(self) -> bool:
        """Whether every trial is finished, or was stopped by the scheduler."""
        return all(MEANING[state].complete for state in self.counts)

    def as_json(self) -> dict[str, Any]:
        """Convert to JSON for ``--json``."""
        seen: dict[str, Any] = {"best": None, "front": [], "remarks": []}
        if self.view:
            seen = self.view.as_json()
        if self.last and (self.fresh or not self.view):
            seen["best"] = self.last.best and self.last.best.model_dump()
        return {
            "name": self.name,
            "active": self.active,
            "complete": self.complete,
            "head": self.head.state,
            "counts": self.counts,
            "running": [asdict(trial) for trial in self.running],
            "workers": [asdict(job) for job in self.workers or ()],
            "joined": [worker.model_dump() for worker in self.joined],
            "seconds_left": self.seconds_left,
            "error": self.error,
            **seen,
            **self.account.as_json(),
        }


class StatusReader:
    """Reads the status of a submitted sweep, again and again. Writes nothing.

    A head that runs writes the counts and the best point to its last status every two seconds. The
    trials themselves are read only for what it lacks: the Pareto front, the points that get no
    further seed, and the held trials; and where no head runs.

    Args:
        folder: The sweep's files.
    """

    def __init__(self, folder: PoolFolder) -> None:
        self._folder = folder
        self._reader: SweepReader | None = None
        self._read_for: tuple[SweepRecord, tuple[str, ...], str | None] | None = None

    def read(self) -> SweepStatus:
        """Read the present status.

        Raises:
            CareError: A file of the sweep cannot be read.
        """
        folder = self._folder
        last, head = folder.status(), folder.head()
        age = time.time() - last.at if last else None
        fresh = _writes(head, age)
        running = last.running if last and fresh else ()
        request = folder.request()
        sweep = folder.store.sweep(folder.name)
        account, spec = read_account(sweep), _spec(sweep)
        view = self._read_trials(request) if not fresh or _needs_trials(sweep, spec) else None
        return SweepStatus(
            folder.name,
            request,
            head,
            _jobs(folder.job_name("head")) if request.slurm else [],
            _jobs(folder.job_name("worker")) if request.slurm else [],
            last.counts if last and fresh else view.counts() if view else {},
            running,
            last,
            age,
            "" if running else last_error(folder.jobs),
            account,
            account.describe(spec) if spec else "",
            describe_stopped(account, spec, request.command) if spec else "",
            view,
        )

    def _read_trials(self, request: Request) -> SweepView:
        """Read the trials of the last submission.

        A trial is stale if its code differs from the submitted code, whatever the code here is now.
        """
        sweep = self._folder.store.sweep(self._folder.name)
        declaration = sweep.declaration()
        submitted = declaration, request.only, request.seeds
        if self._reader is None or submitted != self._read_for:
            versions = Versions(declaration.code_version)
            self._reader = SweepReader(sweep, self._folder.store, versions, *submitted[1:])
            self._read_for = submitted
        return self._reader.read()


def _needs_trials(sweep: SweepFolder, spec: SweepSpec | None) -> bool:
    """Check whether people see more of a sweep than its head's last status has."""
    if spec is None:
        return False
    return bool(spec.metrics or spec.scheduler.by_seed or read_holds(sweep.path).by_group)


def _spec(folder: SweepFolder) -> SweepSpec | None:
    """Read a sweep's declaration for its limits; None if it is missing or damaged."""
    with contextlib.suppress(CareError):
        return restore_sweep(folder.declaration()).spec
    return None


def _writes(head: Head, age: float | None) -> bool:
    """Check that a head runs, and that its last status is at most half a minute old."""
    return head.state == HeadState.RUNNING and age is not None and age < SILENT_SECONDS


def _jobs(name: str) -> list[QueuedJob] | None:
    try:
        return commands.jobs_named(name)
    except commands.SlurmError:
        return None
