"""Several trials trained in one process over one stream of batches.

Each member stays a trial of its own: its folder, its claim, its checkpoints, its failures. What
they share is made once and read by all of them: the batches and their augmented views
(:mod:`care.stream`). So a member's numbers are those of the trial alone, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from care.config import TrialConfig
from care.errors import ConfigError, Problem
from care.steps import Steps
from care.trial_run import TrialRun

Line = dict[str, Any]
Outcome = Line | None | Exception
"""What :meth:`TrialRun.advance` returned, or raised."""

SHARED = (
    "seed",
    "data",
    "augmentation",
    "training.batch_size",
    "runtime.data_root",
    "runtime.device",
    "runtime.processes",
    "runtime.threads",
)
"""Fields that the members of a pack have in common."""


def stream_of(config: TrialConfig) -> tuple[Any, ...]:
    """Equal for trials that can share a stream."""
    return tuple(_value(config, field) for field in SHARED)


def check_members(configs: Sequence[TrialConfig]) -> None:
    """Refuse trials that cannot share a stream.

    Raises:
        ConfigError: Names the first field that differs, or the number of processes.
    """
    first = configs[0]
    for config in configs[1:]:
        for field in SHARED:
            value, common = _value(config, field), _value(first, field)
            if value != common:
                allowed = f"allowed: {common}, as of the pack's first trial; or no pack"
                raise ConfigError("pack", [Problem(field, value, allowed)])
    processes = first.runtime.processes
    if len(configs) > 1 and processes > 1:
        raise ConfigError("pack", [Problem("runtime.processes", processes, "allowed: 1")])


def _value(config: TrialConfig, field: str) -> Any:
    value: Any = config
    for name in field.split("."):
        value = getattr(value, name)
    return value


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
