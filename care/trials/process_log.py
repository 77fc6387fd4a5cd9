"""Send a process's warnings and log records to the logs of the trials that it trains.

A record that is emitted while one trial of a pack takes its step belongs to that trial. Any other
record, e.g. of a thread that loads data, belongs to all trials that the process trains.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from care.trials.folder import TrialFolder

_OURS = ("care", "sweeps")
_SEEN = "_care_in_trial_log"

_owner: ContextVar[Path | None] = ContextVar("owner", default=None)
_training: dict[Path, TrialFolder] = {}
_entered: list[contextlib.ExitStack] = []


@contextlib.contextmanager
def owned_by(folder: TrialFolder) -> Iterator[None]:
    """Give what this thread logs while entered to one trial."""
    token = _owner.set(folder.path)
    try:
        yield
    finally:
        _owner.reset(token)


@contextlib.contextmanager
def logging_to(folder: TrialFolder) -> Iterator[None]:
    """Send this process's records from WARNING on to a trial's log while entered."""
    start(folder)
    try:
        yield
    finally:
        end(folder)


def start(folder: TrialFolder) -> None:
    """Send this process's records from WARNING on to a trial's log until :func:`end`."""
    if not _training:
        stack = contextlib.ExitStack()
        stack.enter_context(_records_captured())
        stack.enter_context(_warnings_captured())
        _entered.append(stack)
    _training[folder.path] = folder


def end(folder: TrialFolder) -> None:
    """Send no more records to a trial's log."""
    if _training.pop(folder.path, None) and not _training:
        _entered.pop().close()


def _write(text: str) -> None:
    owner = _owner.get()
    own = _training.get(owner) if owner else None
    for folder in [own] if own else list(_training.values()):
        folder.log(text)


class _Handler(logging.Handler):
    """Writes each record once, although it hangs at several loggers."""

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, _SEEN, False):
            setattr(record, _SEEN, True)
            try:
                _write(f"{record.levelname.lower()}: {record.name}: {self.format(record)}")
            except Exception:  # noqa: BLE001 - as every handler of logging
                self.handleError(record)
        if logging.lastResort and not _others(record.name, self):
            # Without this handler, Python would print the record.
            logging.lastResort.handle(record)


def _others(name: str, own: logging.Handler) -> bool:
    """Check whether a logger's records reach a handler besides ``own``."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger:
        if any(handler is not own for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


@contextlib.contextmanager
def _records_captured() -> Iterator[None]:
    """Handle the records of the root logger, and of ours, which the command line cuts off."""
    handler = _Handler(logging.WARNING)
    own = [logger for name in _OURS if not (logger := logging.getLogger(name)).propagate]
    loggers = [logging.getLogger(), *own]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


@contextlib.contextmanager
def _warnings_captured() -> Iterator[None]:
    """Log each warning of Python that is shown, and show it as before."""
    shown_before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], filename: str, *rest: Any) -> None:
        line = rest[0] if rest else 0
        _write(f"warning: {category.__name__}: {message} ({filename}:{line})")
        shown_before(message, category, filename, *rest)

    warnings.showwarning = show  # type: ignore[assignment]
    try:
        yield
    finally:
        if warnings.showwarning is show:  # another library may have replaced it since
            warnings.showwarning = shown_before
