"""Ctrl-C and SIGTERM: the first signal requests an orderly end, the second ends the process.

Outside of :class:`Interrupt` the first signal raises :class:`SignalError`. Python unwinds: it
releases claims, removes temporary files and ends Ray's processes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SignalError(BaseException):
    """A signal that ends this command.

    Neither an ``Exception`` nor a ``KeyboardInterrupt``: libraries catch both.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def status(self) -> int:
        """The exit status that shells report for a process that this signal ended."""
        return 128 + self.number


def raise_on_signals() -> None:
    """Make SIGINT and SIGTERM raise :class:`SignalError`; a second one ends the process."""
    for number in _SIGNALS:
        signal.signal(number, _raise)


def _raise(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    for handled in _SIGNALS:
        signal.signal(handled, _exit)
    raise SignalError(number)


def _exit(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    os._exit(128 + number)


class Interrupt:
    """Records the first SIGINT or SIGTERM while entered, so that the process can end in order.

    Args:
        signals: The signals to handle; empty if they are handled elsewhere.

    Attributes:
        requested: Whether a signal arrived.
        hurried: Whether SIGKILL follows soon, as after SIGTERM, but not after Ctrl-C.
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
        """Install the handlers; called again after Ray, which installs its own."""
        if not self.requested:
            for number in self._signals:
                signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def status(self) -> int | None:
        """The exit status after a signal, 130 or 143; None without a signal."""
        return None if self._number is None else 128 + self._number

    def on_request(self, action: Callable[[], None]) -> None:
        """Call ``action`` when the signal arrives, or now if it did."""
        self._actions.append(action)
        if self.requested:
            action()

    def request(self, hurried: bool = True) -> None:
        """Request an orderly end, as a signal does."""
        self.requested, self.hurried = True, hurried
        for action in self._actions:
            action()

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        for handled in self._signals:
            signal.signal(handled, self._before[handled])
        self._number = number
        self.request(hurried=number == signal.SIGTERM)
