"""Start, command, watch and end one follower process from rank 0.

A follower reads orders from its standard input and writes reports to its standard output, one line
each. A pipe closes with the process at its other end. So a follower ends itself when its leader has
ended, and a leader detects the end of a follower at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from care.training.ddp.assignment import Assignment
from care.trials.failure import LostError

READY = "ready"
EPOCH = "epoch\n"
_ROOT = Path(__file__).parents[3]
_EXIT_SECONDS = 10.0


class LostFollowerError(LostError):
    """A follower process of the trial has ended."""


class FollowerProcess:
    """A running follower.

    Args:
        assignment: The follower's first message.
        on_ready: Called from another thread once the follower has loaded the trial.
        on_death: Called from another thread if the follower ends unexpectedly, with the error to
            raise.
    """

    def __init__(
        self,
        assignment: Assignment,
        on_ready: Callable[[], None],
        on_death: Callable[[Exception], None],
    ) -> None:
        self._rank = assignment.rank
        self._on_ready, self._on_death = on_ready, on_death
        self._ending = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "care.training.ddp.follower"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": _python_path()},
        )
        self.order(assignment.to_line())
        threading.Thread(target=self._watch, name=f"rank-{self._rank}", daemon=True).start()

    def order(self, line: str) -> None:
        """Send a line; if the follower has ended, its loss is reported instead."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def release(self) -> None:
        """Close the orders, so that the follower ends after the current one."""
        self._ending = True
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def end(self, *, at_once: bool) -> None:
        """Wait for the follower's end after :meth:`release`, and kill it if it does not end.

        Args:
            at_once: Kill the follower without waiting.
        """
        self._ending = True
        if not at_once:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_EXIT_SECONDS)
        self._process.kill()
        self._process.wait()

    def _watch(self) -> None:
        assert self._process.stdout
        failure: dict[str, Any] = {}
        with self._process.stdout as reports:
            for line in reports:
                report = json.loads(line)
                if report == READY:
                    self._on_ready()
                else:
                    failure = report
        status = self._process.wait()
        if not self._ending:
            self._on_death(self._loss(failure, status))

    def _loss(self, failure: dict[str, Any], status: int) -> Exception:
        process = f"process {self._rank} of the trial"
        if not failure:
            return LostFollowerError(f"{process} ended with exit status {status}")
        kind = MemoryError if failure["kind"] == "out_of_memory" else LostFollowerError
        error = kind(f"{process}: {failure['message']}")
        error.add_note(f"In {process}:\n{failure['traceback']}")
        return error


def _python_path() -> str:
    """Return a path with which a follower imports this code before any other."""
    return os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
