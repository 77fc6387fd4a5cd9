"""Connect this process to Ray, and send the messages of Ray and Tune to a file."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from care.system.permissions import open_file
from sweeps.process.imports import large_imports
from sweeps.process.logging import logged_to


@contextlib.contextmanager
def connected(address: str, log: Path, **settings: Any) -> Iterator[None]:
    """Connect to a Ray while entered.

    Call :func:`sweeps.backends.ray_environment.set_ray_environment` first.

    Args:
        address: ``local`` to start one, or that of a head.
        log: File for the messages of Ray and Tune, and for our own log lines.
        settings: Further arguments of ``ray.init``.
    """
    with large_imports():
        import ray
        import ray.tune

    os.close(open_file(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    handler = _LogFile(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    _send_ray_messages_to(handler)
    _raylet_messages_to_log()
    _keep_signal_handlers()
    with logged_to(handler):
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.WARNING,
                configure_logging=False,
                **settings,
            )
            _send_ray_messages_to(handler)  # again: starting Ray configures its loggers
            yield
        finally:
            ray.shutdown()


def _raylet_messages_to_log() -> None:
    """Log a raylet's reports of lost processes; Ray prints them despite ``log_to_driver=False``."""
    import ray._private.worker

    def log(data: dict[str, Any], **_: object) -> None:
        logging.getLogger("ray").warning("raylet: %s", "\n".join(data["lines"]))

    ray._private.worker.print_to_stdstream = log


def _keep_signal_handlers() -> None:
    """Keep this process's handler of SIGTERM; Ray's would exit with status 15."""
    import ray._private.utils

    ray._private.utils.set_sigterm_handler = lambda handler: None  # noqa: ARG005


class _LogFile(logging.FileHandler):
    """A log file that stays silent when its disk is full."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Ignore the failure: results are written elsewhere, and failures there are reported."""


def _send_ray_messages_to(handler: logging.Handler) -> None:
    """Send the messages of Ray to one handler only."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "ray"]
    for logger in map(logging.getLogger, {"ray", *names}):
        logger.handlers = [handler] if logger.name == "ray" else []
        logger.propagate = logger.name != "ray"
        logger.setLevel(logging.WARNING)
