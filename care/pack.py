"""Several trials trained in one process over one stream of batches.

Each member stays a trial of its own: its folder, its claim, its checkpoints, its failures. What
they share is made once and read by all of them: the batches and their augmented views
(:mod:`care.stream`). So a member's numbers are those of the trial alone, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from care.steps import Steps
from care.stream import check_members
from care.trial_run import TrialRun

Line = dict[str, Any]
Outcome = Line | None | Exception
"""What :meth:`TrialRun.advance` returned, or raised."""


class Pack:
    """Trials that train side by side, step by step.

    Args:
        members: Opened with one :class:`care.stream.Stream`; this process holds their claims.

    Attributes:
        members: As given.
    """

    def __init__(self, members: Sequence[TrialRun]) -> None:
        check_members([member.config for member in members])
        self.members = list(members)
        self._over: set[int] = set()

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
        places = {index: self.members[index].place for index in self.going()}
        least = min(places.values(), default=None)
        running: dict[int, Steps[Line | None]] = {
            index: self.members[index].steps(stop)
            for index, place in places.items()
            if place == least
        }
        outcomes: dict[int, Outcome] = {}
        while running:
            for index, steps in list(running.items()):
                ended, outcome = _next(steps)
                if ended:
                    outcomes[index] = outcome
                    del running[index]
                    if outcome is None or isinstance(outcome, Exception):
                        self.drop(index)
        return outcomes

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
