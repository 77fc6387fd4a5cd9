"""Watch a running sweep and send its messages, in a thread that the sweep never waits for.

At the end the sweep waits a bounded time for the last message.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from care.errors import ConfigError
from care.system.claim import LostClaimError
from care.system.redaction import redact
from care.trials.folder import now
from care.trials.state import State
from sweeps.notify.deliver import SECONDS, DeliveryError, deliver
from sweeps.notify.target import Target, find_target
from sweeps.process.polling import polling
from sweeps.process.signals import SignalError
from sweeps.progress import Board, TrialProgress
from sweeps.spec.notify import Event, NotifyConfig
from sweeps.spec.sweep import Sweep
from sweeps.states import in_words
from sweeps.store import Store

_log = logging.getLogger(__name__)

View = Callable[[Board], AbstractContextManager[object]]
_LOOK_SECONDS = 1.0
_LAST_SECONDS = SECONDS + 5.0


def make_notifier(sweep: Sweep, store: Store) -> Notifier:
    """Make a sweep's notifier; one without a receiver if its address cannot be found here."""
    try:
        target = find_target(sweep.spec.notify)
    except ConfigError as error:
        _log.warning("No messages are sent: %s", error)
        target = None
    return Notifier(target, sweep, store)


class Notifier:
    """Sends the messages of one run of a sweep while entered.

    Args:
        target: The receiver; None sends nothing.
        sweep: The sweep.
        store: Its store.
    """

    def __init__(self, target: Target | None, sweep: Sweep, store: Store) -> None:
        self._target, self._sweep, self._store = target, sweep, store
        self._config = sweep.spec.notify or NotifyConfig()
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send, name="notify", daemon=True)
        self._board: Board | None = None
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        if self._target:
            self._sender.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        # A sweep that another driver took over has not ended; who sends a signal knows of the end.
        if error and not isinstance(error, (LostClaimError, SignalError)):
            self._put("end", f"stopped by an error: {redact(str(error))}", outcome="error")
        if self._target:
            self._messages.put(None)
            self._sender.join(_LAST_SECONDS)
            if self._sender.is_alive():
                _log.warning("The last message did not reach %s in time.", self._target.name)

    def watching(self, view: View) -> View:
        """Return a view that also watches the board for a failure and for a stall."""

        @contextlib.contextmanager
        def watched(board: Board) -> Iterator[None]:
            self._board = board
            check = _Watch(board, self._config, self._put)
            with view(board), polling("notify-watch", _LOOK_SECONDS, check):
                yield
            check()  # the last trial may have failed since

        return watched if self._target else view

    def end(self, outcome: str, page: Path | None, text: str = "") -> None:
        """Send the message that the sweep has ended.

        Args:
            outcome: ``complete``, ``unfinished``, ``interrupted``, ``budget`` or ``failures``.
            page: The report, if one was written.
            text: The outcome in words, if it needs some.
        """
        self._put("end", text or outcome, outcome=outcome, page=page)

    def _put(self, event: Event, text: str, **facts: Any) -> None:
        if self._target and event in self._config.events:
            try:
                self._messages.put(self._message(event, text, **facts))
            except Exception as error:  # noqa: BLE001 - never in the way of the sweep
                _log.warning("The message (%s) could not be made: %s", event, error)

    def _message(
        self, event: Event, text: str, page: Path | None = None, **facts: Any
    ) -> dict[str, Any]:
        name, board = self._sweep.spec.name, self._board
        counts = board.counts() if board else {}
        best = board.best() if board else None
        report = page or self._store.sweep(name).report / "report.html"
        words = in_words(counts)
        metric = self._sweep.spec.metric.name
        shown = {"point": best[0], "mean": best[1], "n": best[2]} if best else None
        best_words = f"; best {best[0]}: {metric} {best[1]:.4g}" if best else ""
        return {
            "event": event,
            "sweep": name,
            "text": f"{name}: {text}{f' ({words})' if words else ''}{best_words}",
            "counts": counts,
            "metric": metric,
            "best": shown,
            "report": str(report.resolve()) if report.exists() else None,
            "store": str(self._store.root.resolve()),
            "host": socket.gethostname(),
            "elapsed_seconds": round(time.monotonic() - self._started, 1),
            "at": now(),
            **facts,
        }

    def _send(self) -> None:
        assert self._target
        while message := self._messages.get():
            try:
                deliver(self._target, message)
            except DeliveryError as error:
                _log.warning(
                    "A message (%s) did not reach %s: %s. The sweep is not affected.",
                    message["event"],
                    self._target.name,
                    error,
                )


class _Watch:
    """Checks a board for its first failure, and for the lack of progress.

    Called every second; always returns False, so that it is called again.
    """

    def __init__(self, board: Board, config: NotifyConfig, put: Callable[..., None]) -> None:
        self._board, self._config, self._put = board, config, put
        self._known = set(self._failed())
        self._reported = False
        self._progress: object = None
        self._since = time.monotonic()
        self._stalled = False

    def __call__(self) -> bool:
        counts = self._board.counts()
        if counts.get(State.FAILED, 0) > len(self._known) and not self._reported:
            self._reported = True
            self._report_failure()
        self._look_for_stall(counts)
        return False

    def _failed(self) -> dict[str, TrialProgress]:
        trials = list(self._board.trials.items())
        return {name: trial for name, trial in trials if trial.state == State.FAILED}

    def _report_failure(self) -> None:
        new = {name: trial for name, trial in self._failed().items() if name not in self._known}
        for name, trial in list(new.items())[:1]:
            facts = {"trial": name, "label": trial.label, "error": trial.error}
            self._put("failure", f"a trial failed: {trial.label}: {trial.error}", failed=facts)

    def _look_for_stall(self, counts: object) -> None:
        progress = (counts, self._board.epochs_run)
        if progress != self._progress:
            self._progress, self._since, self._stalled = progress, time.monotonic(), False
            return
        minutes = (time.monotonic() - self._since) / 60
        if minutes > self._config.stall_minutes and not self._stalled and self._board.left():
            self._stalled = True
            self._put("stall", f"no epoch has ended for {self._config.stall_minutes:g} minutes")
