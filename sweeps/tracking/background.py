"""MLflow beside a running sweep: written by a thread, never in the way of training."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

from sweeps.tracking.destination import redact

_NO_ANSWER = re.compile(
    r"(?:\[Errno -?\d+\] )?(Connection \w+|Name or service not known|timed out"
    r"|No route to host|Network is unreachable|too many \d+ error responses)"
)
_COALESCE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_POLL_SECONDS = 0.2
_SILENT_SECONDS = 5.0


def why(error: Exception) -> str:
    """The reason of a failure in one line, without passwords."""
    text = redact((str(error).strip() or type(error).__name__).splitlines()[0])
    if "Max retries exceeded" in text:
        cause = _NO_ANSWER.search(text)
        return f"no answer: {cause[1]}" if cause else "no answer"
    return text[:200]


class Tracker:
    """Brings what was touched up to date, soon after, in a thread of its own.

    When MLflow fails, that is said once; the names stay noted and are tried again after a pause
    that doubles up to a minute.

    The thread begins with :meth:`start`, for which Ray should be up: a start of Ray, which forks,
    beside a thread that imported MLflow once stood still for good.

    Args:
        sync: Brings one name up to date; may raise anything. False when MLflow had not to be asked,
            which does not show whether it is back.
        say: Called with a line for the user when MLflow fails and when it is back.
    """

    def __init__(self, sync: Callable[[str], object], say: Callable[[str], None]) -> None:
        self._sync, self._say = sync, say
        self._touched: dict[str, None] = {}
        self._synced = 0
        self._changed = threading.Condition()
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="mlflow-tracker", daemon=True)

    def start(self) -> None:
        """Begin to work, once."""
        if self._thread.ident is None:
            self._thread.start()

    def touch(self, name: str) -> None:
        """``name`` has news; returns at once."""
        with self._changed:
            self._touched[name] = None
            self._changed.notify()

    def close(self, seconds: float, hurry: Callable[[], bool] = lambda: False) -> bool:
        """Bring everything up to date and end.

        Thousands of trials may be behind; they are waited for as long as MLflow takes them.

        Args:
            seconds: Longest wait for one name; for all that are left, once ``hurry`` says so.
            hurry: Whether somebody wants this process to end.

        Returns:
            Whether MLflow has everything.
        """
        self.start()
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._wait(seconds, hurry)
        with self._changed:
            return not self._touched and not self._thread.is_alive()

    def _wait(self, seconds: float, hurry: Callable[[], bool]) -> None:
        began = time.monotonic()
        end, synced, said = began + seconds, self._synced, False
        while self._thread.is_alive() and (now := time.monotonic()) < end:
            self._thread.join(_POLL_SECONDS)
            if self._synced != synced and not hurry():
                end, synced = now + seconds, self._synced
            if not said and now - began > _SILENT_SECONDS and not self._failing:
                self._say(f"MLflow is catching up: {len(self._touched)} to go.")
                said = True

    def _work(self) -> None:
        pause = _COALESCE_SECONDS
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
            elif closing:
                return
            else:
                self._pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _drain(self) -> bool:
        """Sync what was touched; False, with the rest still noted, when MLflow fails."""
        while True:
            with self._changed:
                if not self._touched:
                    return True
                name = next(iter(self._touched))
                del self._touched[name]
            try:
                asked = self._sync(name) is not False
            except Exception as error:  # noqa: BLE001 - whatever it is, training must go on
                self._failed(name, error)
                return False
            self._synced += 1
            if self._failing and asked:
                self._failing = False
                self._say("MLflow is back; it is being brought up to date.")

    def _failed(self, name: str, error: Exception) -> None:
        with self._changed:
            self._touched.setdefault(name, None)
        if not self._failing:
            self._failing = True
            self._say(
                f"MLflow cannot be written ({why(error)}). Training goes on; it catches up later."
            )

    def _pause(self, seconds: float) -> None:
        """Wait, but not when the sweep ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, timeout=seconds)
