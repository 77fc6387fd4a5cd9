"""``care sweep status``: of a sweep that was submitted, or that runs on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from care.system.claim import holder
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.account import STOPPED, describe_stopped
from sweeps.backends.slurm import status as submitted
from sweeps.backends.slurm.state_files import HeadState, PoolFolder
from sweeps.inventory import SweepReader, SweepView, TrialRow, find_sweep_folder
from sweeps.live import TrialTable, colored, duration
from sweeps.process.terminal import is_live, make_console
from sweeps.progress import TrialProgress, epoch_metric
from sweeps.states import MEANING
from sweeps.store import Store, SweepFolder
from sweeps.sweep_command import format_command, format_release

_WATCH_SECONDS = 2.0
_SHOWN = 24
_AGAIN = {
    State.FAILED: "--retry-failed",
    State.STALE: "--rerun-stale",
    State.DAMAGED: "--rerun-damaged",
}


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
        return lambda: submitted.read_status(pool), submitted.status_view
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
        best = self.view.best()
        return {
            "name": self.view.name,
            "active": self.active,
            "complete": self.complete,
            "driver": str(self.view.driver) if self.view.driver else None,
            "counts": self.view.counts(),
            "running": [asdict(trial) for trial in self.running()],
            "best": best.point
            and {"point": best.point[1], "mean": best.mean, "n": len(best.seeds)},
            "seconds_left": self.view.seconds_left() if self.active else None,
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
    view = status.view
    lines: list[RenderableType] = [Text(f"{view.name}: {_headline(status)}", style="bold")]
    grid = Table.grid(padding=(0, 2))
    grid.add_row("  trials", colored(view.counts()))
    grid.add_row("  best so far", _best(view))
    if front := _front(view):
        grid.add_row("  Pareto front", front)
    if hours := view.account.describe(view.sweep.spec):
        grid.add_row("  hours", hours)
    if status.active:
        grid.add_row("  time left", duration(view.seconds_left()))
    lines.append(grid)
    lines += [Text(f"  {line}") for line in view.remarks()[:_SHOWN]]
    running = status.running()
    if running:
        lines.append(TrialTable(running[:_SHOWN], status.column))
    if len(running) > _SHOWN:
        lines.append(Text(f"  … and {len(running) - _SHOWN} more"))
    if not status.active:
        lines += [Text(f"  {line}") for line in _how_to_continue(status)]
    return Group(*lines)


def _how_to_continue(status: LocalStatus) -> Iterator[str]:
    counts, view = status.view.counts(), status.view
    if view.stopped:
        yield describe_stopped(view.account, view.sweep.spec, status.command)
    elif any(MEANING[state].left for state in counts):
        yield f"to resume: {status.command}"
    if held := counts.get(State.HELD):
        yield f"{held} held; to release them: {format_release(view.name, command=status.command)}"
    for state, option in _AGAIN.items():
        if counts.get(state):
            yield f"{counts[state]} {state}; to train them: {status.command} {option}"


def _headline(status: LocalStatus) -> str:
    if status.active:
        return f"running, {status.view.driver}"
    if status.complete:
        return State.FINISHED
    return STOPPED[status.view.account.stopped] if status.view.stopped else "no driver is running"


def _front(view: SweepView) -> str:
    """List the Pareto front, a point a line; empty for a sweep with one metric."""
    metrics, front = view.sweep.spec.metrics, view.front()
    if not metrics or not front.points:
        return ""
    names = ", ".join(metric.name for metric in metrics)
    number = f"{len(front.points)} of {len(front.means)} points"
    lines = [f"{number}; {names} (means, n = {len(front.seeds)}):"]
    lines += [
        f"{point[1]}: {', '.join(f'{mean:.4g}' for mean in front.means[point])}"
        for point in front.points[:_SHOWN]
    ]
    more = len(front.points) - _SHOWN
    return "\n".join([*lines, *([f"… and {more} more"] if more > 0 else [])])


def _best(view: SweepView) -> str:
    best, metric = view.best(), view.sweep.spec.metric.name
    if best.point is None or best.mean is None:
        return "–"
    note = f"; ⚠ {len(best.collapsed)} nearly collapsed left out" if best.collapsed else ""
    return f"{best.point[1]}: {metric} {best.mean:.4g} (mean, n = {len(best.seeds)}{note})"
