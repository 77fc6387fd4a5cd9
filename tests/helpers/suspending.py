"""Threads that pause before each disk operation until they are resumed."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

STEPS = ("rename", "replace", "link", "unlink", "rmdir", "mkdir", "open", "fsync", "stat")


class Suspended(threading.Thread):
    """A thread that runs from one step on the disk to the next, when :meth:`go` is called."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._may_go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self.over = False
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Wait for the first step, then work."""
        self._may_go.acquire()
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - raised again by go
            self.error = error
        self.over = True
        self._stands.release()

    def stand(self) -> None:
        """Stand still; called by the thread itself."""
        self._stands.release()
        self._may_go.acquire()

    def go(self, steps: int) -> None:
        """Let it take so many steps, or fewer if it ends; raises what it raised."""
        for _ in range(steps):
            if self.over:
                break
            self._may_go.release()
            assert self._stands.acquire(timeout=60), "it hangs"
        if self.error is not None:
            raise self.error


def suspend_at_every_step(
    patch: pytest.MonkeyPatch, done: Callable[[str, tuple[Any, ...]], None]
) -> None:
    """Have every :class:`Suspended` stand still before each step on the disk.

    Args:
        patch: Undoes it.
        done: Called after each step that succeeded, with its name and arguments.
    """

    def wrap(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            thread = threading.current_thread()
            if not isinstance(thread, Suspended):
                return original(*arguments, **named)
            thread.stand()
            result = None if name == "fsync" else original(*arguments, **named)
            done(name, arguments)
            if name == "open":
                thread.stand()  # with the file open
            return result

        return wrapped

    for name in STEPS:
        patch.setattr(os, name, wrap(name, getattr(os, name)))
    patch.setattr(io, "open", wrap("open", io.open))
