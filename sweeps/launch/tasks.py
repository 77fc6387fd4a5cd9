"""The tasks of a launch: those that wait, and those that run and may come back."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from sweeps.launch.retry import Again

Task = dict[str, Any]
Retry = Callable[[Task, str | None], Again | None]


class TaskQueue:
    """Hands out tasks in order; one whose try ended before it was over comes back.

    Args:
        retry: Decides about another try.
        stopping: Whether nothing more is to be handed out.

    Attributes:
        given_up: Identities of the trials that were not over and get no other try.
    """

    def __init__(self, retry: Retry, stopping: Callable[[], bool] = lambda: False) -> None:
        self._retry, self._is_stopping = retry, stopping
        self._ready: deque[Task] = deque()
        self._later: list[tuple[float, int, Task]] = []  # a heap, by time and then order
        self._order = itertools.count()
        self._running: dict[str, Task] = {}
        self.given_up: set[str] = set()

    def __len__(self) -> int:
        """Tasks that wait."""
        return len(self._ready) + len(self._later)

    def put(self, task: Task) -> None:
        """Enter a task that was not tried yet."""
        self._ready.append({"share": 1, "tries": 1, **task})

    def take(self, key: str) -> Task | None:
        """The next task that is due, known as ``key`` while it runs; None when none is."""
        if self.stopping:
            return None
        while self._later and self._later[0][0] <= time.monotonic():
            self._ready.appendleft(heapq.heappop(self._later)[2])  # what was begun ends first
        if not self._ready:
            return None
        self._running[key] = self._ready.popleft()
        return self._running[key]

    def running(self, key: str) -> Task:
        """The task that runs as ``key``."""
        return self._running[key]

    @property
    def stopping(self) -> bool:
        """Whether nothing more is handed out."""
        return self._is_stopping()

    @property
    def over(self) -> bool:
        """Whether no task waits and none that runs can come back."""
        return self.stopping or not (self._ready or self._later or self._running)

    def end(self, key: str, outcome: str | None) -> bool:
        """The try known as ``key`` has ended.

        Args:
            key: As given to :meth:`take`.
            outcome: What the trainable said last; None when its process was lost.

        Returns:
            Whether the task is over; otherwise it is handed out again.
        """
        task = self._running.pop(key)
        again = self._retry(task, outcome)
        if again is None:
            if outcome in (None, "disk"):
                self.given_up.add(task["trial_id"])
            return True
        task = {**task, "share": again.share, "tries": task["tries"] + 1}
        heapq.heappush(self._later, (time.monotonic() + again.after, next(self._order), task))
        return False
