"""``care sweep status``: of a sweep that was submitted, or that runs on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from rich.console import RenderableType
from rich.live import Live

from care.system.claim import holder
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.account import STOPPED, describe_stopped
from sweeps.backends.slurm.state_files import HeadState, PoolFolder
from sweeps.backends.slurm.status import StatusReader
from sweeps.cli.status_view import (
    StatusPage,
    advise,
    format_best_of,
    format_front,
    submitted_view,
)
from sweeps.inventory import SweepReader, find_sweep_folder
from sweeps.live import duration
from sweeps.process.terminal import is_live, make_console
from sweeps.progress import TrialProgress, epoch_metric
from sweeps.store import Store, SweepFolder
from sweeps.sweep_command import format_command
from sweeps.sweep_view import SweepView, TrialRow

_WATCH_SECONDS = 2.0


class Status(Protocol):
    """The status of a sweep at one moment."""

    @property
    def active(self) -> bool:
        """Whether a driver runs, or waits in a queue."""

    @property
    def complete(self) -> bool:
        """Whether every trial is finished, or was stopped by the scheduler."""

    def as_json(self) -> dict[str, Any]:
        """Convert to JSON for ``--json``."""


def status_command(name: str, root: Path, watch: bool, as_json: bool) -> int:
    """Show the status of a sweep.

    Returns:
        0 if every trial is finished or the sweep is running, 1 otherwise.

    Raises:
        ConfigError: No sweep of this name was started.
    """
    read, view = _reader(find_sweep_folder(name, Store(root)), Store(root))
    status = read()
    if as_json:
        print(json.dumps(status.as_json()))
    elif watch:
        status = _watch(status, read, view)
    else:
        make_console().print(view(status))
    return 0 if status.active or status.complete else 1


def _reader(
    folder: SweepFolder, store: Store
) -> tuple[Callable[[], Status], Callable[[Any], RenderableType]]:
    """Return how to read and how to show the status of a sweep, as it was last started."""
    pool = PoolFolder(store, folder.name)
    if pool.foreign or not pool.submitted:
        return LocalReader(folder, store).read, local_view
    # A sweep that was submitted once may be run in a terminal now.
    in_terminal = holder(folder.path) is not None and pool.head().state != HeadState.RUNNING
    if not in_terminal:
        return StatusReader(pool).read, submitted_view
    return LocalReader(folder, store).read, local_view


def _watch(
    status: Status, read: Callable[[], Status], view: Callable[[Any], RenderableType]
) -> Status:
    """Show the live status until the sweep ends; Ctrl-C ends only the display."""
    console = make_console()
    if not is_live(console):
        return _watch_lines(status, read, view)
    with Live(view(status), auto_refresh=False, console=console) as live:
        while status.active:
            time.sleep(_WATCH_SECONDS)
            status = read()
            live.update(view(status), refresh=True)
    return status


def _watch_lines(
    status: Status, read: Callable[[], Status], view: Callable[[Any], RenderableType]
) -> Status:
    """Print the status whenever the numbers of trials change, until the sweep ends."""
    console, shown = make_console(), None
    while True:
        counts = status.as_json()["counts"]
        if counts != shown or not status.active:
            console.print(view(status))
        if not status.active:
            return status
        shown = counts
        time.sleep(_WATCH_SECONDS)
        status = read()


class LocalStatus:
    """The status of a sweep whose driver is no job.

    Attributes:
        view: The sweep and its trials.
        command: The command that resumes it.
    """

    def __init__(self, view: SweepView, command: str) -> None:
        self.view, self.command = view, command
        monitor = view.sweep.base_config().evaluation.monitor
        self.column = epoch_metric(view.sweep.spec.metric.name, monitor)

    @property
    def active(self) -> bool:
        """Whether a driver runs."""
        return self.view.driver is not None

    @property
    def complete(self) -> bool:
        """Whether every trial is finished, or was stopped by the scheduler."""
        return self.view.complete

    def running(self) -> list[TrialProgress]:
        """List the trials that train."""
        rows = [row for row in self.view.rows if row.state == State.RUNNING]
        return [self._progress(row) for row in rows]

    def _progress(self, row: TrialRow) -> TrialProgress:
        return TrialProgress(
            row.point_label,
            row.seed,
            row.epochs,
            row.epoch,
            row.state,
            latest=row.measures.get(self.column),
            images_per_second=row.images_per_second,
        )

    def as_json(self) -> dict[str, Any]:
        """Convert to JSON for ``--json``; the names are those of a submitted sweep."""
        return {
            "name": self.view.name,
            "active": self.active,
            "complete": self.complete,
            "driver": str(self.view.driver) if self.view.driver else None,
            "counts": self.view.counts(),
            "running": [asdict(trial) for trial in self.running()],
            "seconds_left": self.view.seconds_left() if self.active else None,
            **self.view.as_json(),
            **self.view.account.as_json(),
        }


class LocalReader:
    """Reads the status of a sweep whose driver is no job, from its files.

    Args:
        folder: The sweep's folder.
        store: Its store.
    """

    def __init__(self, folder: SweepFolder, store: Store) -> None:
        self._command = format_command(folder.declaration())
        self._reader = SweepReader(folder, store, Versions())

    def read(self) -> LocalStatus:
        """Read the present status."""
        return LocalStatus(self._reader.read(), self._command)


def local_view(status: LocalStatus) -> RenderableType:
    """Format the status of a sweep whose driver is no job, for a terminal."""
    view, counts = status.view, status.view.counts()
    account, spec = view.account, view.sweep.spec
    stopped = describe_stopped(account, spec, status.command) if view.stopped else ""
    advice = advise(view.name, counts, status.command, stopped, active=status.active)
    return StatusPage(
        f"{view.name}: {_headline(status)}",
        counts,
        format_best_of(view),
        front=format_front(view),
        hours=account.describe(spec),
        time_left=duration(view.seconds_left()) if status.active else "",
        remarks=view.remarks(),
        running=status.running(),
        column=status.column,
        advice=tuple(advice),
    ).render()


def _headline(status: LocalStatus) -> str:
    if status.active:
        return f"running, {status.view.driver}"
    if status.complete:
        return State.FINISHED
    return STOPPED[status.view.account.stopped] if status.view.stopped else "no driver is running"
