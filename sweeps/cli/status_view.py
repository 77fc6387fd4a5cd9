"""The status of a sweep on a terminal: one layout for sweeps on this machine and submitted ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from care.trials.state import State
from sweeps.account import STOPPED
from sweeps.backends.slurm.commands import QueuedJob
from sweeps.backends.slurm.status import SILENT_SECONDS, SweepStatus
from sweeps.live import TrialTable, colored, duration, format_best, format_mean
from sweeps.progress import TrialProgress
from sweeps.states import MEANING
from sweeps.sweep_command import format_release
from sweeps.sweep_view import SweepView

_SHOWN = 24
_AGAIN = {
    State.FAILED: "--retry-failed",
    State.STALE: "--rerun-stale",
    State.DAMAGED: "--rerun-damaged",
}


@dataclass(frozen=True)
class StatusPage:
    """The parts of a status that a terminal shows.

    Attributes:
        title: The sweep's name and what it does.
        counts: Trials by state.
        best: The best point so far.
        workers: The workers; empty for a sweep on this machine.
        front: The Pareto front, a point a line; empty for a sweep with one metric.
        hours: Planned and spent hours; empty without any.
        time_left: The time left; empty if no driver runs.
        remarks: Lines about points that get no further seed, and held trials.
        running: Trials that train.
        column: Metric that is shown of them.
        error: The last error of jobs that do not work; empty without one.
        advice: Lines about how to continue.
    """

    title: str
    counts: Mapping[State, int]
    best: str
    workers: str = ""
    front: str = ""
    hours: str = ""
    time_left: str = ""
    remarks: Sequence[str] = ()
    running: Sequence[TrialProgress] = ()
    column: str = ""
    error: str = ""
    advice: Sequence[str] = ()

    def render(self) -> RenderableType:
        """Format for a terminal."""
        grid = Table.grid(padding=(0, 2))
        grid.add_row("  trials", colored(self.counts))
        rows = {
            "workers": self.workers,
            "best so far": self.best,
            "Pareto front": self.front,
            "hours": self.hours,
            "time left": self.time_left,
        }
        for name, text in rows.items():
            if text:
                grid.add_row(f"  {name}", text)
        lines: list[RenderableType] = [Text(self.title, style="bold"), grid]
        lines += _shortened([Text(f"  {line}") for line in self.remarks])
        if self.running:
            lines.append(TrialTable(self.running[:_SHOWN], self.column))
            lines += _more(len(self.running))
        if self.error:
            lines.append(Text(f"  last error   {self.error}"))
        return Group(*lines, *(Text(f"  {line}") for line in self.advice))


def _shortened(lines: Sequence[RenderableType]) -> list[RenderableType]:
    return [*lines[:_SHOWN], *_more(len(lines))]


def _more(number: int) -> list[Text]:
    return [Text(f"  … and {number - _SHOWN} more")] if number > _SHOWN else []


def format_best_of(view: SweepView) -> str:
    """Format the best point of a sweep; a dash without one."""
    best = view.best()
    return format_best(best, view.sweep.spec.metric.name, best.point[1] if best.point else "")


def format_front(view: SweepView) -> str:
    """List the Pareto front, a point a line; empty for a sweep with one metric."""
    metrics = view.sweep.spec.metrics
    if not metrics or not (front := view.front()).points:
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


def advise(
    name: str, counts: Mapping[State, int], command: str, stopped: str, *, active: bool
) -> Iterator[str]:
    """Describe how to continue a sweep, a line each.

    Args:
        name: The sweep's name.
        counts: Its trials by state.
        command: The command that resumes it.
        stopped: Why its last run stopped early, and how to continue; empty if it did not.
        active: Whether a driver runs.
    """
    if not active and stopped:
        yield stopped
    elif not active and any(MEANING[state].left for state in counts):
        yield f"to resume: {command}"
    if held := counts.get(State.HELD):
        yield f"{held} held; to release them: {format_release(name, command=command)}"
    for state, option in _AGAIN.items():
        if not active and counts.get(state):
            yield f"{counts[state]} {state}; to train them: {command} {option}"


def submitted_view(status: SweepStatus) -> RenderableType:
    """Format the status of a submitted sweep, for a terminal."""
    last, view = status.last, status.view
    if view and not status.fresh:
        best = format_best_of(view)
    elif last:
        found = (last.best.point, last.best.mean, last.best.n) if last.best else None
        best = format_mean(found, last.metric, last.left_out)
    else:
        best = ""
    stopped = "" if status.complete else status.stopped
    advice = advise(
        status.name, status.counts, status.request.command, stopped, active=status.active
    )
    return StatusPage(
        f"{status.name}: {_headline(status)}",
        status.counts,
        best,
        _workers(status),
        format_front(view) if view else "",
        status.hours,
        duration(status.seconds_left) if status.active and last else "",
        view.remarks() if view else (),
        status.running,
        last.column if last else "",
        "" if status.complete else status.error,
        tuple(advice),
    ).render()


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
        silent = status.age is not None and status.age >= SILENT_SECONDS
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
