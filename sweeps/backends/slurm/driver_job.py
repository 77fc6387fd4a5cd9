"""Run the driver job: Ray's head and the sweep's driver, until every trial is finished.

It may be requeued or killed at any time: the next driver job resumes from the store.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from care.system.claim import LostClaimError
from care.system.permissions import open_file
from sweeps.backends.slurm import commands
from sweeps.backends.slurm.backend import SlurmBackend
from sweeps.backends.slurm.code_snapshot import check_code
from sweeps.backends.slurm.preemption import Deadline, end_of_this_job, this_job
from sweeps.backends.slurm.state_files import PoolFolder, Request
from sweeps.backends.slurm.status_file import StatusFile
from sweeps.backends.slurm.submission import leave_job_environment
from sweeps.process.logging import show_log
from sweeps.process.polling import polling
from sweeps.process.signals import Interrupt
from sweeps.process.terminal import make_console
from sweeps.resources import Resources, split_machine
from sweeps.run import RunOptions, SweepResult, SweepRun, View
from sweeps.spec.sweep import Sweep, restore_sweep
from sweeps.store import Store

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


def run_driver(store: str, name: str) -> str:
    """Run the driver job.

    Returns:
        ``finished``, ``unfinished``, ``interrupted``, or ``superseded`` if another head runs the
        sweep.
    """
    folder = PoolFolder(Store(Path(store)), name)
    request = folder.request()
    check_code(request.code)
    deadline = Deadline(end_of_this_job(), request.cluster.grace_seconds)
    job_id = this_job()
    leave_job_environment()
    descriptor = open_file(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as log:
        show_log(make_console(log))
        _log.info("head on %s, job %s", socket.gethostname(), job_id)
        with _JobInterrupt(deadline) as interrupt, _watching(deadline, interrupt):
            run = DriverRun(folder, request, job_id)
            try:
                outcome = run(interrupt, lambda board: StatusFile(board, run.backend))
            except LostClaimError as error:
                _log.error("%s", error)
                return "superseded"
        interrupted = interrupt.requested and not outcome.account.stopped
        again = interrupted and not folder.request().cancel
        if again and deadline.passed == "time":
            with contextlib.suppress(commands.SlurmError):
                commands.requeue(job_id)
    if interrupted:
        return "interrupted"
    return "finished" if outcome.complete else "unfinished"


class _JobInterrupt(Interrupt):
    """Sends SLURM's signals to the job's deadline, also after Ray has installed its handlers."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__(signals=())
        self._deadline = deadline

    def arm(self) -> None:
        """Install the handlers."""
        self._deadline.watch_signals()


class DriverRun:
    """A submitted sweep, run in this process.

    Args:
        folder: Its files.
        request: Its last submission.
        job_id: SLURM's job; empty outside of a job.

    Attributes:
        backend: Its workers.
    """

    def __init__(self, folder: PoolFolder, request: Request, job_id: str) -> None:
        os.chdir(request.folder)
        sweep = restore_sweep(folder.store.sweep(folder.name).declaration())
        sweep = sweep.select(request.only, request.seeds)
        self.backend = SlurmBackend(folder, worker_resources(sweep, request), job_id)
        options = RunOptions(tracking_uri=request.tracking_uri, report=request.report)
        self._run = SweepRun(sweep, folder.store, self.backend, options)

    def __call__(self, interrupt: Interrupt, view: View) -> SweepResult:
        """Run until every trial is finished, or until an interrupt or ``care sweep cancel``."""
        self.backend.on_cancel = interrupt.request
        return self._run(interrupt, view)


def worker_resources(sweep: Sweep, request: Request) -> Resources:
    """Return a worker's share of the cluster, and a trial's share of a worker."""
    return split_machine(
        sweep.spec.resources, request.cluster.cpus, request.cluster.gpus, "a worker"
    )


@contextlib.contextmanager
def _watching(deadline: Deadline, interrupt: Interrupt) -> Iterator[None]:
    """Interrupt the driver when its job must end."""

    def look() -> bool:
        if deadline.passed:
            interrupt.request()
        return bool(deadline.passed)

    with polling("deadline", _LOOK_SECONDS, look):
        yield
