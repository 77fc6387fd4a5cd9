"""Several trials trained in one process over one stream of batches.

Each member stays a trial of its own: its folder, its claim, its checkpoints, its failures. What
they share is made once and read by all of them: the batches and their augmented views
(:mod:`care.data.shared_batches`). So a member's numbers are those of the trial alone, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from care.data.shared_batches import check_members
from care.training.pack_size import Pace
from care.training.steps import Steps
from care.training.trial_run import TrialRun

Line = dict[str, Any]
Outcome = Line | None | Exception
"""What :meth:`TrialRun.advance` returned, or raised."""


class Pack:
    """Trials that train side by side, step by step.

    Args:
        members: Opened with one :class:`care.data.shared_batches.SharedBatches`; this process
            holds their claims.
        more: Called after some steps with the seconds that a step of all members took; gives
            members to be trained from then on, too, and is called again until it gives none.

    Attributes:
        members: As given, and those that came later.
    """

    def __init__(
        self,
        members: Sequence[TrialRun],
        more: Callable[[float], Sequence[TrialRun]] | None = None,
    ) -> None:
        check_members([member.config for member in members])
        self.members = list(members)
        self._over: set[int] = set()
        self._more = more
        self._pace = self._new_pace()

    def advance(self, stop: Callable[[], bool] = lambda: False) -> dict[int, Outcome]:
        """Take those that are least far one epoch on; the rest wait for them.

        Members that began elsewhere may be at other places. They share from where they meet on, so
        whoever is behind goes first.

        Args:
            stop: Asked between steps; True saves each one's place and pauses it.

        Returns:
            By the place in :attr:`members`, of those that were trained, what came of it. A member's
            error is its own and ends no other.
        """
        self._stop = stop
        self._epoch = min((self.members[index].epoch for index in self.going()), default=0)
        self._running: dict[int, Steps[Line | None]] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._start(self.going())
        while self._running:
            together, last = self._round(), not self._running
            if self._pace and (together or last) and (seconds := self._pace.measure(last)):
                self._add(seconds)
        return self._outcomes

    def _new_pace(self) -> Pace | None:
        """For a pack that may still grow."""
        training = [self.members[index] for index in self.going()]
        return Pace(training[0].trainer.device) if self._more and training else None

    def _start(self, indices: Iterable[int]) -> None:
        for index in indices:
            if self.members[index].epoch == self._epoch:
                self._running[index] = self.members[index].steps(self._stop)

    def _round(self) -> bool:
        """A step of each that is least far, for whom the others wait; whether that were all."""
        places = {index: self.members[index].place for index in self._running}
        least = min(places.values())
        behind = [index for index, place in places.items() if place == least]
        for index in behind:
            ended, outcome = _next(self._running[index])
            if ended:
                self._outcomes[index] = outcome
                del self._running[index]
                if outcome is None or isinstance(outcome, Exception):
                    self.drop(index)
        return len(behind) == len(places)

    def _add(self, seconds: float) -> None:
        assert self._more
        first = len(self.members)
        self.members += self._more(seconds)
        if len(self.members) == first:
            self._more = None
        self._pace = self._new_pace()
        check_members([member.config for member in self.members])
        self._start(index for index in self.going() if index >= first)

    def going(self) -> list[int]:
        """Places of the members that are neither finished nor paused, failed or dropped."""
        return [
            index
            for index, member in enumerate(self.members)
            if index not in self._over and not member.finished
        ]

    def drop(self, index: int) -> None:
        """Train this member no more."""
        self._over.add(index)


def _next(steps: Steps[Line | None]) -> tuple[bool, Outcome]:
    """Whether the steps have ended, and with what."""
    try:
        next(steps)
    except StopIteration as done:
        outcome: Line | None = done.value
        return True, outcome
    except Exception as error:  # noqa: BLE001 - on record with the trial; told to the caller
        return True, error
    return False, None
