"""The tasks of a launch: those that wait, and those that run and may return."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, Protocol

from care.data.shared_batches import LARGEST_PACK
from sweeps.tune.messages import Outcome, PackResult, PackTask, TrialTask
from sweeps.tune.retry import NextTry

Retry = Callable[[TrialTask, Outcome], NextTry | None]
# Trials that share batches lie near each other: seeds are the innermost axis of a plan.
_NEAREST = 256


class Pruner(Protocol):
    """Decides whether the further seeds of a point are trained."""

    def should_wait(self, trial_id: str) -> bool:
        """Return whether a decision about a trial's point will know more after running trials."""

    def admit(self, trial_id: str) -> bool:
        """Decide whether a trial that is about to start is trained."""

    def is_stopped(self, trial_id: str) -> bool:
        """Return whether a trial is not trained, since its point is stopped."""

    def end(self, trial_id: str, *, finished: bool) -> None:
        """Note that a trial ended for good."""


class TaskQueue:
    """Hands out tasks in order; a trial whose try ended before it was over returns.

    Args:
        retry: Decides about another try of a trial.
        stopping: Returns whether to hand out nothing more.
        pack: Most trials of one task; ``auto``: the process measures how many pay.
        slots: Tasks that run side by side, if that is known. Packs are as small as it takes to
            give every slot a task.
        neighbors: Tasks that share a GPU, or the memory of a machine without one.

    Attributes:
        pruner: Decides about the further seeds of points; None trains all of them.
        on_stop: Called with the identity of each trial that is not trained, since its point is
            stopped.
        is_held: Returns whether a user holds a trial, which is then set aside.
        given_up: Identities of the trials that were not over and get no other try.
    """

    def __init__(
        self,
        retry: Retry,
        stopping: Callable[[], bool] = lambda: False,
        pack: int | Literal["auto"] = 1,
        slots: int | None = None,
        neighbors: int = 1,
    ) -> None:
        self._retry, self._is_stopping = retry, stopping
        self._slots, self._neighbors = slots, neighbors
        self._auto = pack == "auto"
        self._pack = LARGEST_PACK if pack == "auto" else pack
        self._ready: deque[TrialTask] = deque()
        self._later: list[tuple[float, int, TrialTask]] = []  # a heap, by time and then order
        self._order = itertools.count()
        self._running: dict[str, PackTask] = {}
        self._outcomes: dict[str, dict[str, Outcome]] = {}
        self.given_up: set[str] = set()
        self.pruner: Pruner | None = None
        self.on_stop: list[Callable[[str], None]] = []
        self.is_held: Callable[[TrialTask], bool] = lambda _: False
        self._held: list[TrialTask] = []

    def __len__(self) -> int:
        """Count the trials that wait."""
        return len(self._ready) + len(self._later)

    def put(self, task: TrialTask) -> None:
        """Append a trial."""
        (self._held if self.is_held(task) else self._ready).append(task)

    @property
    def set_aside(self) -> set[str]:
        """Identities of the held trials that would wait otherwise."""
        return {task.trial_id for task in self._held}

    def sort_held(self) -> None:
        """Set held trials aside, and put back those that were released, first."""
        waiting = [*self._held, *self._ready]
        self._held = [task for task in waiting if self.is_held(task)]
        self._ready = deque(task for task in waiting if not self.is_held(task))

    def take(self, key: str) -> PackTask | None:
        """Return the next task that is due, known as ``key`` while it runs; None when none is."""
        if self.stopping:
            return None
        due: list[TrialTask] = []
        while self._later and self._later[0][0] <= time.monotonic():
            task = heapq.heappop(self._later)[2]
            (self._held if self.is_held(task) else due).append(task)
        # Trials that were tried before end before others start.
        self._ready.extendleft(reversed(due))
        first = self._next()
        if first is None:
            return None
        self._running[key] = self._pack_with_others(first)
        return self._running[key]

    def _next(self) -> TrialTask | None:
        """Remove and return the first trial to train.

        One whose point may still be stopped by running trials comes after all others: a machine
        that has no other work trains it.
        """
        while self._ready:
            index = next((n for n, task in enumerate(self._ready) if not self._waits(task)), 0)
            task = self._ready[index]
            del self._ready[index]
            if self._admit(task):
                return task
        return None

    def _waits(self, task: TrialTask) -> bool:
        return self.pruner is not None and self.pruner.should_wait(task.trial_id)

    def _admit(self, task: TrialTask) -> bool:
        """Decide whether a trial is trained; otherwise, drop the further seeds of its point."""
        if self.pruner is None or self.pruner.admit(task.trial_id):
            return True
        stopped = [task.trial_id]
        stopped += [each.trial_id for each in self._ready if self.pruner.is_stopped(each.trial_id)]
        stopped += [each.trial_id for each in self._held if self.pruner.is_stopped(each.trial_id)]
        self._ready = deque(each for each in self._ready if each.trial_id not in stopped)
        self._held = [each for each in self._held if each.trial_id not in stopped]
        for identity in stopped:
            for notify in self.on_stop:
                notify(identity)
        return False

    def running(self, key: str) -> PackTask:
        """Return the task that runs as ``key``."""
        return self._running[key]

    @property
    def stopping(self) -> bool:
        """Whether nothing more is handed out."""
        return self._is_stopping()

    @property
    def over(self) -> bool:
        """Whether no task waits and none that runs can return; held ones do not count."""
        return self.stopping or not (self._ready or self._later or self._running)

    def report(self, key: str, result: PackResult) -> None:
        """Note the outcomes of the task that runs as ``key``."""
        if self._auto and result.size:
            self._pack, self._auto = result.size, False
        outcomes = {trial.trial_id: trial.outcome for trial in result.trials}
        self._outcomes.setdefault(key, {}).update(outcomes)
        for trial in result.trials:
            if self.pruner and trial.outcome == Outcome.FINISHED:
                self.pruner.end(trial.trial_id, finished=True)

    def end(self, key: str, *, lost: bool = False) -> bool:
        """End the try known as ``key``.

        Args:
            key: As given to :meth:`take`.
            lost: Whether its process was lost.

        Returns:
            Whether the task is over; otherwise it, or some of its trials, are handed out again.
        """
        task, outcomes = self._running.pop(key), self._outcomes.pop(key, {})
        over = True
        for trial in task.trials:
            outcome = outcomes.get(trial.trial_id, Outcome.LOST)
            if lost and outcome == Outcome.RUNNING:
                outcome = Outcome.LOST
            # A trial that trained when its process was lost may have killed it.
            if len(task.trials) > 1 and outcome in (Outcome.LOST, Outcome.OUT_OF_MEMORY):
                trial = replace(trial, alone=True)
            over &= self._end_trial(trial, outcome)
        return over

    def _end_trial(self, task: TrialTask, outcome: Outcome) -> bool:
        errors = task.disk_errors + 1 if outcome == Outcome.DISK_ERROR else 0
        task = replace(task, disk_errors=errors)
        again = self._retry(task, outcome)
        if again is None:
            if self.pruner:
                self.pruner.end(task.trial_id, finished=outcome == Outcome.FINISHED)
            if outcome in (Outcome.LOST, Outcome.DISK_ERROR):
                self.given_up.add(task.trial_id)
            return True
        task = replace(task, share=again.share, unopened=again.unopened)
        heapq.heappush(self._later, (time.monotonic() + again.after, next(self._order), task))
        return False

    def _pack_with_others(self, first: TrialTask) -> PackTask:
        """Take trials that can share batches with ``first`` out of the queue, and join them."""
        wanted = self._pack
        if self._slots:
            # Tasks are handed out before their slots are free, so they are counted off in rounds.
            free = self._slots - len(self._running) % self._slots
            wanted = min(wanted, -(-(len(self) + 1) // free))
        packed = wanted > 1 and _may_share(first)
        near = list(itertools.islice(self._ready, _NEAREST)) if packed else []
        others: list[TrialTask] = []
        for task in near:
            shares = _may_share(task) and task.batch_key == first.batch_key
            if len(others) < wanted - 1 and shares and not self._waits(task):
                others += self._take_out(task)
        if not others:
            return PackTask((first,))
        return PackTask((first, *others), self._neighbors if self._auto else None)

    def _take_out(self, task: TrialTask) -> list[TrialTask]:
        """Remove a waiting trial, and return it unless it is not trained."""
        if task not in self._ready:  # its point was stopped just now
            return []
        self._ready.remove(task)
        return [task] if self._admit(task) else []


def _may_share(task: TrialTask) -> bool:
    """Return whether a trial may be packed with others."""
    return task.batch_key is not None and task.share == 1 and not task.alone
