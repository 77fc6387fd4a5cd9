"""One follower, as rank 0 starts, orders, watches and ends it.

A follower reads orders from its standard input and reports on its standard output, a line each. A
pipe ends with the process at its other end, however that ends: a follower whose leader is gone ends
itself, and a leader whose follower is gone hears of it at once.
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
_SECONDS_TO_LEAVE = 10.0


class LostFollowerError(LostError):
    """A process that trained a trial together with others has ended."""


class FollowerProcess:
    """A running follower.

    Args:
        told: Its assignment.
        on_ready: Called from another thread when it is where it is to go on from.
        on_loss: Called from another thread when it has ended without being told to, with what to
            raise for it.
    """

    def __init__(
        self,
        told: Assignment,
        on_ready: Callable[[], None],
        on_loss: Callable[[Exception], None],
    ) -> None:
        self._rank = told.rank
        self._on_ready, self._on_loss = on_ready, on_loss
        self._ending = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "care.training.ddp.follower"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": _python_path()},
        )
        self.order(told.to_line())
        threading.Thread(target=self._watch, name=f"rank-{self._rank}", daemon=True).start()

    def order(self, line: str) -> None:
        """Tell it something; one that has ended does not hear, and is reported as lost."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def release(self) -> None:
        """Tell it that there are no more orders."""
        self._ending = True
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def end(self, *, at_once: bool) -> None:
        """Wait until it has ended after :meth:`release`; kill it when it does not, or at once."""
        self._ending = True
        if not at_once:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_SECONDS_TO_LEAVE)
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
            self._on_loss(self._loss(failure, status))

    def _loss(self, failure: dict[str, Any], status: int) -> Exception:
        who = f"process {self._rank} of the trial"
        if not failure:
            return LostFollowerError(f"{who} ended with exit status {status}")
        error = MemoryError if failure["kind"] == "out_of_memory" else LostFollowerError
        return error(f"{who}: {failure['message']}")


def _python_path() -> str:
    """Where the follower finds this code before any other."""
    return os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
