"""One stream of batches and augmented views for all trials that train in a process.

Batches and augmentations are functions of (seed, purpose, epoch, step), so trials of one seed, one
data set and one distribution of augmentations would each make the same ones. Whoever of them comes
first to a step makes them; the others, which follow before anybody goes on to the next step, find
them there.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from care.config import TrialConfig
from care.errors import ConfigError, Problem

T = TypeVar("T")

LARGEST_PACK = 8
"""Trials per pack with ``auto``: more gain little, and wait for each other at an epoch's end."""

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
"""Fields that must be equal in all trials of a pack."""


def stream_of(config: TrialConfig) -> str:
    """Return a key that is equal for trials that can share their batches."""
    return repr([_value(config, field) for field in SHARED])


def check_members(configs: Sequence[TrialConfig]) -> None:
    """Check that the trials of a pack can share their batches.

    Raises:
        ConfigError: A shared field differs, or a trial uses several processes; names the field.
    """
    for first, config in itertools.pairwise(configs):
        for field in SHARED:
            value, common = _value(config, field), _value(first, field)
            if value != common:
                allowed = f"allowed: {common}, as of the pack's first trial; or no pack"
                raise ConfigError("pack", [Problem(field, value, allowed)])
        processes = config.runtime.processes
        if processes > 1:
            raise ConfigError("pack", [Problem("runtime.processes", processes, "allowed: 1")])


def _value(config: TrialConfig, field: str) -> Any:
    value: Any = config
    for name in field.split("."):
        value = getattr(value, name)
    return value


class Stream:
    """Keeps what was made for one step until something is asked for of another step.

    Attributes:
        seconds: Time that it took to make what was asked for of the last step.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._place: Hashable = None
        self._made: dict[Hashable, Any] = {}

    def get(self, place: Hashable, name: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, or gave at this place. Nobody may change it.

        Args:
            place: Everything that it is a function of, but for its name.
            name: What is asked for.
            make: Makes it.
        """
        if place != self._place:
            self._place, self._made, self.seconds = place, {}, 0.0
        if name not in self._made:
            began = time.perf_counter()
            self._made[name] = make()
            self.seconds += time.perf_counter() - began
        found: T = self._made[name]
        return found
