"""``care sweep status``: a submitted sweep's files and jobs, for people and programs."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from care.errors import CareError
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.account import STOPPED, AccountRecord, describe_stopped, read_account
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
from sweeps.live import TrialTable, colored, duration
from sweeps.plan import make_plan
from sweeps.progress import TrialProgress
from sweeps.spec.schema import SweepSpec
from sweeps.spec.sweep import restore_sweep
from sweeps.states import MEANING
from sweeps.store import SweepFolder

_SILENT_SECONDS = 30.0
_SHOWN = 24


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

    @property
    def joined(self) -> tuple[WorkerStatus, ...]:
        """The workers outside of SLURM's queue, as a running head sees them."""
        return self.last.joined if self.last and _writes(self.head, self.age) else ()

    @property
    def active(self) -> bool:
        """Whether a head runs, or waits in the queue."""
        if self.heads is not None and any(job.present for job in self.heads):
            return True
        return _writes(self.head, self.age)

    @property
    def complete(self) -> bool:
        """Whether every trial is finished, or was stopped by the scheduler."""
        return all(MEANING[state].complete for state in self.counts)

    def as_json(self) -> dict[str, Any]:
        """Convert to JSON for ``--json``."""
        return {
            "name": self.name,
            "active": self.active,
            "complete": self.complete,
            "head": self.head.state,
            "counts": self.counts,
            "running": [asdict(trial) for trial in self.running],
            "workers": [asdict(job) for job in self.workers or ()],
            "joined": [worker.model_dump() for worker in self.joined],
            "best": self.last.best.model_dump() if self.last and self.last.best else None,
            "seconds_left": self.last.seconds_left if self.last else None,
            "error": self.error,
            **self.account.as_json(),
        }


def read_status(folder: PoolFolder) -> SweepStatus:
    """Read the files and SLURM's queue; write nothing."""
    last, head = folder.status(), folder.head()
    age = time.time() - last.at if last else None
    fresh = _writes(head, age)
    running = last.running if last and fresh else ()
    request = folder.request()
    sweep = folder.store.sweep(folder.name)
    account, spec = read_account(sweep), _spec(sweep)
    return SweepStatus(
        folder.name,
        request,
        head,
        _jobs(folder.job_name("head")) if request.slurm else [],
        _jobs(folder.job_name("worker")) if request.slurm else [],
        last.counts if last and fresh else _counts(folder),
        running,
        last,
        age,
        "" if running else last_error(folder.jobs),
        account,
        account.describe(spec) if spec else "",
        describe_stopped(account, spec, request.command) if spec else "",
    )


def _spec(folder: SweepFolder) -> SweepSpec | None:
    """Read a sweep's declaration for its limits; None if it is missing or damaged."""
    with contextlib.suppress(CareError):
        return restore_sweep(folder.declaration()).spec
    return None


def _writes(head: Head, age: float | None) -> bool:
    """Check that a head runs, and that its last status is at most half a minute old."""
    return head.state == HeadState.RUNNING and age is not None and age < _SILENT_SECONDS


def _jobs(name: str) -> list[QueuedJob] | None:
    try:
        return commands.jobs_named(name)
    except commands.SlurmError:
        return None


def _counts(folder: PoolFolder) -> dict[State, int]:
    """Count the trials of the store by state; this reads every trial.

    A trial is stale if its code differs from the submitted code, whatever the code here is now.
    """
    declaration = folder.store.sweep(folder.name).declaration()
    request = folder.request()
    sweep = restore_sweep(declaration).select(request.only, request.seeds)
    plan = make_plan(sweep, folder.store, Versions(declaration.code_version))
    counts = plan.counts()
    counts[State.NEW] += plan.unsuggested
    return {state: number for state, number in counts.items() if number}


def status_view(status: SweepStatus) -> RenderableType:
    """Format a status for a terminal."""
    lines: list[RenderableType] = [Text(f"{status.name}: {_headline(status)}", style="bold")]
    grid = Table.grid(padding=(0, 2))
    grid.add_row("  trials", colored(status.counts))
    grid.add_row("  workers", _workers(status))
    last = status.last
    if status.hours:
        grid.add_row("  hours", status.hours)
    if status.head.state == HeadState.RUNNING and last:
        grid.add_row("  best so far", _best(last))
        grid.add_row("  time left", duration(last.seconds_left))
    lines.append(grid)
    if status.running:
        lines.append(TrialTable(status.running[:_SHOWN], last.column if last else ""))
        if len(status.running) > _SHOWN:
            lines.append(Text(f"  … and {len(status.running) - _SHOWN} more"))
    if status.error and not status.complete:
        lines.append(Text(f"  last error   {status.error}"))
    if not status.active and not status.complete:
        lines.append(Text(f"  {status.stopped or f'to resume: {status.request.command}'}"))
    return Group(*lines)


def _best(status: PoolStatus) -> str:
    """Format the best point so far, and which points were not compared for it."""
    best, note = status.best, status.left_out
    value = f"{best.point}: {status.metric} {best.mean:.4g} (mean, n = {best.n})" if best else "–"
    return f"{value} ({note})" if note else value


def _headline(status: SweepStatus) -> str:
    if status.request.cancel:
        return "being cancelled" if status.active else "cancelled"
    waiting = next((job for job in status.heads or () if job.pending), None)
    if waiting:
        return f"head job {waiting.job_id} waits in the queue ({waiting.reason})"
    suspended = next((job for job in status.heads or () if job.suspended), None)
    if suspended:
        return f"head job {suspended.job_id} is suspended by SLURM"
    if status.active:
        where = f"head job {status.head.job_id} on" if status.head.job_id else "head on"
        silent = status.age is not None and status.age >= _SILENT_SECONDS
        note = f", silent for {duration(status.age)}" if silent else ""
        return f"running, {where} {status.last.node if status.last else 'a node'}{note}"
    if status.complete:
        return State.FINISHED
    return STOPPED.get(status.account.stopped, "no head is running")


def _workers(status: SweepStatus) -> str:
    request, here = status.request, status.last.node if status.last and status.active else ""
    open_run = [f"1 running ({here})" if here else "0 running"]
    parts = _jobs_in_words(status.workers) if request.slurm else open_run
    if status.joined:
        nodes = sorted({worker.node for worker in status.joined})
        parts.append(f"{len(status.joined)} joined ({', '.join(nodes)})")
    return ", ".join([*parts, f"wanted {request.workers}"] if request.slurm else parts)


def _jobs_in_words(jobs: list[QueuedJob] | None) -> list[str]:
    if jobs is None:
        return ["unknown: SLURM does not answer here"]
    running = [job.node for job in jobs if job.running]
    waiting = Counter(job.reason for job in jobs if job.pending)
    parts = [
        f"{len(running)} running ({', '.join(sorted(set(running)))})" if running else "0 running"
    ]
    suspended = sum(job.suspended for job in jobs)
    parts += [f"{suspended} suspended"] if suspended else []
    return parts + [f"{number} waiting ({reason})" for reason, number in waiting.items()]
