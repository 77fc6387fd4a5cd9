"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second one ends at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While entered, notes the first SIGINT or SIGTERM instead of dying of it.

    Args:
        signals: Other signals than those, or none where somebody else handles them.

    Attributes:
        requested: Whether one came.
        hurried: Whether who asked kills soon: SIGTERM, or SLURM, but not a person's Ctrl-C.
    """

    def __init__(self, signals: Sequence[int] = _SIGNALS) -> None:
        self._signals = signals
        self.requested = False
        self.hurried = False
        self._actions: list[Callable[[], None]] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.getsignal(number) for number in self._signals}
        self.arm()
        return self

    def arm(self) -> None:
        """Install the handlers, again where a library (Ray) has put its own in their place."""
        if not self.requested:
            for number in self._signals:
                signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_request(self, action: Callable[[], None]) -> None:
        """Call ``action`` when the signal comes, or now if it came."""
        self._actions.append(action)
        if self.requested:
            action()

    def request(self, hurried: bool = True) -> None:
        """Ask for an orderly end, as a signal does."""
        self.requested, self.hurried = True, hurried
        for action in self._actions:
            action()

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        for handled in self._signals:
            signal.signal(handled, self._before[handled])
        self.request(hurried=number == signal.SIGTERM)
