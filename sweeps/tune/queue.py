"""The tasks of a launch: those that wait, and those that run and may come back."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from care.data.shared_batches import LARGEST_PACK
from sweeps.tune.messages import Task, members_of, results_of
from sweeps.tune.retry import Again

Retry = Callable[[Task, str | None], Again | None]
# Trials that share a stream lie near each other: seeds are the innermost axis of a plan.
_LOOKED_AT = 256


class TaskQueue:
    """Hands out tasks in order; one whose try ended before it was over comes back.

    Args:
        retry: Decides about another try of a trial.
        stopping: Whether nothing more is to be handed out.
        pack: Most trials of one stream that are handed out together; ``auto``: as many as it pays
            to, which the trainable finds out.
        slots: Tasks that run side by side, if that is known: none of them is to stand idle because
            others have packs.

    Attributes:
        given_up: Identities of the trials that were not over and get no other try.
    """

    def __init__(
        self,
        retry: Retry,
        stopping: Callable[[], bool] = lambda: False,
        pack: int | Literal["auto"] = 1,
        slots: int | None = None,
    ) -> None:
        self._retry, self._is_stopping = retry, stopping
        self._slots, self._auto = slots, pack == "auto"
        self._pack = LARGEST_PACK if pack == "auto" else pack
        self._ready: deque[Task] = deque()
        self._later: list[tuple[float, int, Task]] = []  # a heap, by time and then order
        self._order = itertools.count()
        self._running: dict[str, Task] = {}
        self._outcomes: dict[str, dict[str, str]] = {}
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
        self._running[key] = self._with_others(self._ready.popleft())
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

    def note(self, key: str, result: dict[str, Any]) -> None:
        """The trainable has said something of the task that runs as ``key``."""
        task = self._running[key]
        if "members" in task:
            self._note_size(result)
            said = {identity: told["outcome"] for identity, told in results_of(task, result)}
            self._outcomes.setdefault(key, {}).update(said)

    def _note_size(self, result: dict[str, Any]) -> None:
        """Packs are no larger from now on than one was found to pay."""
        if self._auto and result.get("pack"):
            self._pack, self._auto = result["pack"], False

    def end(self, key: str, outcome: str | None) -> bool:
        """The try known as ``key`` has ended.

        Args:
            key: As given to :meth:`take`.
            outcome: What the trainable said last; None when its process was lost.

        Returns:
            Whether the task is over; otherwise it, or some of its trials, are handed out again.
        """
        task, said = self._running.pop(key), self._outcomes.pop(key, {})
        if "members" not in task:
            return self._end_one(task, outcome)
        over = True
        for member in members_of(task):
            last = said.get(member["trial_id"])
            # What trained when the process was lost may have been what killed it.
            lost = outcome is None and last in (None, "running")
            again = {**member, "alone": True} if lost or last == "crowded" else member
            over &= self._end_one(again, None if lost else last)
        return over

    def _end_one(self, task: Task, outcome: str | None) -> bool:
        again = self._retry(task, outcome)
        if again is None:
            if outcome in (None, "disk"):
                self.given_up.add(task["trial_id"])
            return True
        task = {
            **task,
            "share": again.share,
            "tries": task["tries"] + 1,
            "unopened": again.unopened,
        }
        heapq.heappush(self._later, (time.monotonic() + again.after, next(self._order), task))
        return False

    def _with_others(self, first: Task) -> Task:
        """``first``, in a pack with others of its stream if there are any."""
        wanted = self._pack
        if self._slots:
            # Tasks are handed out before their slots are free, so they are counted off in rounds.
            free = self._slots - len(self._running) % self._slots
            wanted = min(wanted, -(-(len(self) + 1) // free))
        if wanted == 1 or not _may_be_packed(first):
            return first
        near = itertools.islice(self._ready, _LOOKED_AT)
        places = [
            place
            for place, task in enumerate(near)
            if _may_be_packed(task) and task["stream"] == first["stream"]
        ][: wanted - 1]
        if not places:
            return first
        others = [self._ready[place] for place in places]
        for place in reversed(places):
            del self._ready[place]
        pack = {"members": [first, *others], "share": 1}
        return {**pack, "neighbors": self._slots or 1} if self._auto else pack


def _may_be_packed(task: Task) -> bool:
    """One that lost its process, or wants more than its part of a machine, is tried alone."""
    return "stream" in task and task["share"] == 1 and not task.get("alone")
