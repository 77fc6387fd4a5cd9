"""Where the lines of our loggers, ``care`` and ``sweeps``, are shown and kept.

What a user should know is logged as one line without a time: ``logging.getLogger(__name__)`` in
the module that knows it. Loggers of libraries, and the root's, are left as they are.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from rich.console import Console

from care.system.redaction import redact

_LOGGERS = ("care", "sweeps")


class ConsoleHandler(logging.Handler):
    """Prints each message on a console, above the live table that is drawn there.

    Args:
        console: The console of the table; a second one would overwrite it.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message without its secrets."""
        try:
            self.console.print(redact(record.getMessage()))
        except Exception:  # noqa: BLE001 - as every handler of logging
            self.handleError(record)


def show_log(console: Console) -> None:
    """Print our lines on a console, in place of the one before.

    They go no further: where a library has given the root logger a handler, each line would be
    printed twice.
    """
    handler = ConsoleHandler(console)
    for logger in map(logging.getLogger, _LOGGERS):
        others = [each for each in logger.handlers if not isinstance(each, ConsoleHandler)]
        logger.handlers = [*others, handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False


@contextlib.contextmanager
def logged_to(handler: logging.Handler) -> Iterator[None]:
    """Send our lines to one more handler, e.g. a file, while entered."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
