"""Writes to MLflow in a thread beside a running sweep, so that training never waits for them."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

from care.system.redaction import redact

_log = logging.getLogger(__name__)

_NO_ANSWER = re.compile(
    r"(?:\[Errno -?\d+\] )?(Connection \w+|Name or service not known|timed out"
    r"|No route to host|Network is unreachable|too many \d+ error responses)"
)
_COALESCE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_POLL_SECONDS = 0.2
_SILENT_SECONDS = 5.0  # of the wait at the end of a sweep, before it is reported


def describe_error(error: Exception) -> str:
    """Describe an error in one line, without passwords."""
    text = redact((str(error).strip() or type(error).__name__).splitlines()[0])
    if "Max retries exceeded" in text:
        cause = _NO_ANSWER.search(text)
        return f"no answer: {cause[1]}" if cause else "no answer"
    return text[:200]


class BackgroundSync:
    """Syncs touched names to MLflow soon after, in its own thread.

    A failure of MLflow is reported once. The names are kept and retried after a pause that doubles
    up to a minute.

    Call :meth:`start` after Ray has started: Ray forks, and a fork beside a thread that imports
    MLflow has deadlocked.

    Args:
        sync: Syncs one name; may raise anything. Returns False if it did not call MLflow, so that
            the success shows nothing about the server.
        batches: Returns how many batches MLflow has accepted. One name, a sweep of thousands of
            trials, may take minutes of them.
    """

    def __init__(
        self, sync: Callable[[str], object], batches: Callable[[], int] = lambda: 0
    ) -> None:
        self._sync, self._batches = sync, batches
        self._touched: dict[str, None] = {}
        self._synced = 0
        self._changed = threading.Condition()
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="mlflow-tracker", daemon=True)

    def start(self) -> None:
        """Start the thread, unless it is running."""
        if self._thread.ident is None:
            self._thread.start()

    def touch(self, name: str) -> None:
        """Queue ``name`` to be synced, and return at once."""
        with self._changed:
            self._touched[name] = None
            self._changed.notify()

    def close(self, seconds: float, hurry: Callable[[], bool] = lambda: False) -> bool:
        """Sync all queued names and end the thread.

        Thousands of names may be queued; the wait lasts as long as MLflow accepts them.

        Args:
            seconds: Longest wait for progress: a name that is synced, or a batch. While ``hurry``
                returns True, for everything.
            hurry: Returns True if this process should end soon.

        Returns:
            Whether every name is synced.
        """
        self.start()
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._wait(seconds, hurry)
        with self._changed:
            return not self._touched and not self._thread.is_alive()

    def _wait(self, seconds: float, hurry: Callable[[], bool]) -> None:
        started = time.monotonic()
        end, progress, reported = started + seconds, self._progress(), False
        while self._thread.is_alive() and (now := time.monotonic()) < end:
            self._thread.join(_POLL_SECONDS)
            if self._progress() != progress and not hurry():
                end, progress = now + seconds, self._progress()
            if not reported and now - started > _SILENT_SECONDS and not self._failing:
                _log.info("MLflow is catching up: %d to go.", len(self._touched))
                reported = True

    def _progress(self) -> tuple[int, int]:
        return self._synced, self._batches()

    def _work(self) -> None:
        pause, tried_again = _COALESCE_SECONDS, False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._touched or self._closing)
                if not self._touched:
                    return
                closing = self._closing
            if not closing:
                self._pause(_COALESCE_SECONDS)
            if self._drain():
                pause = _COALESCE_SECONDS
            elif closing and tried_again:
                return
            elif closing:
                tried_again = True  # by a new connection: the old one may be broken
            else:
                self._pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _drain(self) -> bool:
        """Sync the queued names; return False and keep the rest if MLflow fails."""
        while True:
            with self._changed:
                if not self._touched:
                    return True
                name = next(iter(self._touched))
                del self._touched[name]
            try:
                called = self._sync(name) is not False
            except Exception as error:  # noqa: BLE001 - no error of MLflow may stop the training
                self._report_failure(name, error)
                return False
            self._synced += 1
            if self._failing and called:
                self._failing = False
                _log.info("MLflow is back; it is being brought up to date.")

    def _report_failure(self, name: str, error: Exception) -> None:
        with self._changed:
            self._touched.setdefault(name, None)
        if not self._failing:
            self._failing = True
            _log.warning(
                "MLflow cannot be written (%s). Training continues; MLflow catches up later.",
                describe_error(error),
            )

    def _pause(self, seconds: float) -> None:
        """Wait, or return early when the sweep ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, timeout=seconds)
