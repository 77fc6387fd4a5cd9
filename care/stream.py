"""One stream of batches and augmented views for all trials that train in a process.

Batches and augmentations are functions of (seed, purpose, epoch, step), so trials of one seed, one
data set and one distribution of augmentations would each make the same ones. Whoever of them comes
first to a step makes them; the others, which follow before anybody goes on to the next step, find
them there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Stream:
    """Keeps what was made for one step until something is asked for of another step."""

    def __init__(self) -> None:
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
            self._place, self._made = place, {}
        if name not in self._made:
            self._made[name] = make()
        found: T = self._made[name]
        return found
