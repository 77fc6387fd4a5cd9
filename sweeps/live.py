"""What a person sees while a sweep runs: a live table, or lines where there is no terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeps.progress import Board, TrialProgress

_REFRESH_PER_SECOND = 4
_LOG_EVERY_SECONDS = 15.0
STATES = (
    "finished",
    "running",
    "paused",
    "new",
    "stopped",
    "elsewhere",
    "failed",
    "stale",
    "damaged",
)
STYLES = {
    "finished": "green",
    "running": "cyan",
    "failed": "red",
    "stale": "yellow",
    "damaged": "red",
}


def duration(seconds: float | None) -> str:
    """``1 h 02 min``, ``3 min 20 s``, ``45 s``; a dash when unknown."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class LiveView:
    """Shows a board while entered.

    Args:
        board: What to show.
        name: The sweep's name.
        console: Where to.
    """

    def __init__(self, board: Board, name: str, console: Console) -> None:
        self._board, self._name, self._console = board, name, console
        self._live: Live | None = None
        self._over = threading.Event()
        self._logger = threading.Thread(target=self._log_lines, name="progress-log", daemon=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
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
        if self._live:
            self._live.stop()
        else:
            self._logger.join()
            self._console.print(self._summary(), soft_wrap=True)

    def _table(self) -> RenderableType:
        board = self._board
        trials = board.running()
        running = [trial_table(trials, board.metric.name)] if trials else []
        return Group(Text(self._name, style="bold"), self._counts(), *running, self._footer())

    def _counts(self) -> Text:
        counts = self._board.counts()
        parts = Text("  ")
        for state in STATES:
            if counts.get(state):
                parts.append(f"{counts[state]} {state}   ", style=STYLES.get(state, ""))
        return parts

    def _footer(self) -> Text:
        return Text(f"  {self._best()}   time left {duration(self._board.seconds_left())}")

    def _best(self) -> str:
        best = self._board.best()
        if best is None:
            return "best so far –"
        point, mean, count = best
        return f"best so far {point}: {self._board.metric.name} {mean:.4g} (mean, n = {count})"

    def _summary(self) -> str:
        counts = ", ".join(
            f"{number} {state}" for state, number in sorted(self._board.counts().items())
        )
        left = duration(self._board.seconds_left())
        return f"{self._name}: {counts}; {self._best()}; time left {left}"

    def _log_lines(self) -> None:
        """A line when the counts change, and one now and then."""
        shown: dict[str, int] = {}
        logged_at = 0.0
        while not self._over.wait(1.0):
            counts = self._board.counts()
            if counts != shown or time.monotonic() - logged_at > _LOG_EVERY_SECONDS:
                self._console.print(self._summary(), soft_wrap=True)
                shown, logged_at = counts, time.monotonic()


def trial_table(trials: Sequence[TrialProgress], metric: str) -> Table:
    """Trials that train, a row each."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for column in ("trial", "seed", "epochs", "", "images/s", metric):
        table.add_column(column, style="dim" if column == "seed" else "")
    for trial in trials:
        table.add_row(*_cells(trial))
    return table


def _cells(trial: TrialProgress) -> tuple[RenderableType, ...]:
    bar = ProgressBar(total=trial.epochs, completed=trial.epoch, width=20)
    value = "–" if trial.value is None else f"{trial.value:.4g}"
    rate = "–" if trial.images_per_second is None else f"{trial.images_per_second:,.0f}"
    return trial.point, str(trial.seed), f"{trial.epoch}/{trial.epochs}", bar, rate, value
