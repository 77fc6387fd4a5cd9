"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second one ends at once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While entered, notes the first SIGINT or SIGTERM instead of dying of it.

    Attributes:
        requested: Whether one came.
        signal: Which one.
    """

    def __init__(self) -> None:
        self.requested = False
        self.signal = 0
        self._actions: list[Callable[[], None]] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        self.arm()
        return self

    def arm(self) -> None:
        """Install the handlers, again where a library (Ray) has put its own in their place."""
        if not self.requested:
            for number in _SIGNALS:
                signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_request(self, action: Callable[[], None]) -> None:
        """Call ``action`` when the signal comes, or now if it came."""
        self._actions.append(action)
        if self.requested:
            action()

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.requested = True
        self.signal = number
        for handled in _SIGNALS:
            signal.signal(handled, self._before[handled])
        for action in self._actions:
            action()
