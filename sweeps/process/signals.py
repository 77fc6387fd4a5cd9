"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second one ends at once.

Outside of :class:`Interrupt` the first one ends at once. At once means that Python unwinds: claims
are released, temporary files removed, Ray's processes ended.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SignalError(BaseException):
    """A signal ends this command.

    It is neither an ``Exception`` nor a ``KeyboardInterrupt``, both of which libraries catch.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def status(self) -> int:
        """The exit status of a process that this signal ended, as shells report it."""
        return 128 + self.number


def raise_on_signals() -> None:
    """Make SIGINT and SIGTERM raise :class:`SignalError`, and the next one end the process."""
    for number in _SIGNALS:
        signal.signal(number, _raise)


def _raise(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    for handled in _SIGNALS:
        signal.signal(handled, _exit)
    raise SignalError(number)


def _exit(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    os._exit(128 + number)


class Interrupt:
    """While entered, notes the first SIGINT or SIGTERM instead of dying of it.

    Args:
        signals: Other signals than those, or none where they are handled elsewhere.

    Attributes:
        requested: Whether one came.
        hurried: Whether a kill follows soon, as after SIGTERM or from SLURM, but not after Ctrl-C.
    """

    def __init__(self, signals: Sequence[int] = _SIGNALS) -> None:
        self._signals = signals
        self.requested = False
        self.hurried = False
        self._number: int | None = None
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

    @property
    def status(self) -> int | None:
        """The exit status that a signal asks for, 130 or 143; None where none came."""
        return None if self._number is None else 128 + self._number

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
        self._number = number
        self.request(hurried=number == signal.SIGTERM)
