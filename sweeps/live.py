"""The display of a running sweep: a live table on a terminal, log lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Self

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from analysis.best_point import BestPoint
from care.trials.state import State
from sweeps.process.terminal import is_live, shorten
from sweeps.progress import Board, TrialProgress
from sweeps.states import MEANING, in_words

_REFRESH_PER_SECOND = 4
_LOG_EVERY_SECONDS = 15.0
_OTHER_LINES = 7  # of the table, besides the trials' rows
_NARROWEST_LABEL = 12
_WIDE_TERMINAL, _BAR, _GAP = 72, 12, 2  # columns; only a wide terminal has progress bars
_LONGEST_METRIC, _LONGEST_NUMBER = 16, 9


def duration(seconds: float | None) -> str:
    """Format a time as ``1 h 02 min``, ``3 min 20 s`` or ``45 s``; a dash if unknown."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def colored(counts: Mapping[State, int]) -> Text:
    """Format the numbers of trials by state, each in its color."""
    text = Text()
    for state, meaning in MEANING.items():
        if counts.get(state):
            text.append(f"{counts[state]} {state}   ", style=meaning.style)
    return text


class LiveView:
    """Shows a board while entered.

    Args:
        board: The sweep's board.
        name: The sweep's name.
        console: The terminal, pipe or file to print to.
    """

    def __init__(self, board: Board, name: str, console: Console) -> None:
        self._board, self._name, self._console = board, name, console
        self._live: Live | None = None
        self._over = threading.Event()
        self._logger = threading.Thread(target=self._log_lines, name="progress-log", daemon=True)

    def __enter__(self) -> Self:
        if is_live(self._console):
            self._live = Live(
                get_renderable=self._table,
                console=self._console,
                refresh_per_second=_REFRESH_PER_SECOND,
            )
            self._live.start()
        else:
            self._logger.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._board.activity = ""
        if self._live:
            self._live.stop()
        else:
            self._logger.join()
            self._console.print(self._summary(), soft_wrap=True)

    def _table(self) -> RenderableType:
        board, width = self._board, self._console.width
        trials = board.running()
        rows = max(1, self._console.height - _OTHER_LINES)
        running: list[RenderableType] = []
        if trials:
            running.append(TrialTable(trials[:rows], board.column))
        if len(trials) > rows:
            running.append(Text(f"  … and {len(trials) - rows} more"))
        head = Text(shorten(self._name, width), style="bold")
        if board.activity:
            head.append(f"  {board.activity} …", style="not bold")
        times = f"  elapsed {duration(board.elapsed())}   time left {self._time_left()}"
        best = Text(f"  {self._format_best(width - 2)}")
        counts = Text("  ").append(colored(self._board.counts()))
        return Group(head, counts, *running, best, Text(times))

    def _time_left(self) -> str:
        return duration(self._board.seconds_left())

    def _format_best(self, width: int | None = None) -> str:
        """Format the best point so far; its label is shortened to fit ``width``."""
        best, metric = self._board.best_point(), self._board.metric.name
        label = best.point[1] if best.point else ""
        if width is not None:
            rest = len(f"best so far {format_best(best, metric, label)}") - len(label)
            label = shorten(label, max(_NARROWEST_LABEL, width - rest))
        return f"best so far {format_best(best, metric, label)}"

    def _summary(self) -> str:
        counts = in_words(self._board.counts())
        activity = f" ({self._board.activity})" if self._board.activity else ""
        elapsed, left = duration(self._board.elapsed()), self._time_left()
        best = self._format_best()
        return f"{self._name}{activity}: {counts}; {best}; elapsed {elapsed}; time left {left}"

    def _log_lines(self) -> None:
        """Print a line after each change of the counts or the activity, and every 15 seconds."""
        shown: object = None
        logged_at = 0.0
        while not self._over.wait(1.0):
            now = (self._board.counts(), self._board.activity)
            if now != shown or time.monotonic() - logged_at > _LOG_EVERY_SECONDS:
                self._console.print(self._summary(), soft_wrap=True)
                shown, logged_at = now, time.monotonic()


def format_best(best: BestPoint[tuple[str, str]], metric: str, label: str) -> str:
    """Format the best point with its mean and what was not compared; a dash without one."""
    value = None if best.mean is None else (label, best.mean, len(best.seeds))
    return format_mean(value, metric, describe_left_out(best))


def format_mean(best: tuple[str, float, int] | None, metric: str, left_out: str) -> str:
    """Format the label, mean and number of seeds of the best point; a dash without one."""
    if best is None:
        return f"–{left_out and f' ({left_out})'}"
    label, mean, count = best
    return f"{label}: {metric} {mean:.4g} (mean, n = {count}{left_out and f'; {left_out}'})"


def describe_left_out(best: BestPoint[tuple[str, str]]) -> str:
    """Describe the points that were not compared for the best one; empty if there are none."""
    parts = []
    if best.collapsed:
        parts.append(f"⚠ {len(best.collapsed)} nearly collapsed")
    if best.other_seeds:
        parts.append(f"{len(best.other_seeds)} with other seeds")
    return f"left out: {', '.join(parts)}" if parts else ""


class TrialTable:
    """A table of training trials, as wide as the terminal.

    Args:
        trials: The trials.
        metric: The metric of their latest values.
    """

    def __init__(self, trials: Sequence[TrialProgress], metric: str) -> None:
        self._trials, self._metric = trials, metric

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the rows; labels are shortened to fit."""
        bar = _BAR if options.max_width >= _WIDE_TERMINAL else 0
        names = ["trial", "seed", "epochs", *([""] if bar else []), "images/s"]
        metric = shorten(self._metric, _LONGEST_METRIC)
        rows = [_cells(trial, bar) for trial in self._trials]
        columns = [[name, *(row[index] for row in rows)] for index, name in enumerate(names)]
        others = sum(max(map(_length, column)) + _GAP for column in columns[1:])
        label = options.max_width - others - max(len(metric), _LONGEST_NUMBER) - _GAP - 1
        table = Table(box=None, padding=(0, _GAP, 0, 0), show_edge=False)
        for name in [*names, metric]:
            table.add_column(name, style="dim" if name == "seed" else "", no_wrap=True)
        for row in rows:
            table.add_row(shorten(str(row[0]), max(_NARROWEST_LABEL, label)), *row[1:])
        yield table


def _length(cell: RenderableType) -> int:
    return len(cell) if isinstance(cell, str) else _BAR


def _cells(trial: TrialProgress, bar: int) -> tuple[RenderableType, ...]:
    progress = ProgressBar(total=trial.epochs, completed=trial.epoch, width=bar)
    value = "–" if trial.latest is None else f"{trial.latest:.4g}"
    rate = "–" if trial.images_per_second is None else f"{trial.images_per_second:,.0f}"
    epochs = f"{trial.epoch}/{trial.epochs}"
    return (trial.point, str(trial.seed), epochs, *([progress] if bar else []), rate, value)
