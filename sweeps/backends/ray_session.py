"""This process's connection to a Ray, with what Ray and Tune say sent to a file."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.process.imports import large_imports


@contextlib.contextmanager
def connected(address: str, log: Path, **settings: Any) -> Iterator[None]:
    """Be connected to a Ray.

    :func:`sweeps.backends.ray_environment.set_ray_environment` is called before.

    Args:
        address: ``local`` to start one, or that of a head.
        log: File for what Ray and Tune have to say; the terminal is for the sweep's own table.
        settings: More of ``ray.init``.
    """
    with large_imports():
        import ray
        import ray.tune

    _log_to(log)
    _raylet_messages_to_log()
    _keep_signal_handlers()
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.WARNING,
            configure_logging=False,
            **settings,
        )
        _log_to(log)  # again: starting Ray sets its loggers up anew
        yield
    finally:
        ray.shutdown()


def _raylet_messages_to_log() -> None:
    """Log what a raylet reports of lost processes; Ray prints it whatever ``log_to_driver`` is."""
    import ray._private.worker

    def log(data: dict[str, Any], **_: object) -> None:
        logging.getLogger("ray").warning("raylet: %s", "\n".join(data["lines"]))

    ray._private.worker.print_to_stdstream = log


def _keep_signal_handlers() -> None:
    """Leave this process's handler of SIGTERM in place; Ray's would exit with status 15."""
    import ray._private.utils

    ray._private.utils.set_sigterm_handler = lambda handler: None  # noqa: ARG005


class _LogFile(logging.FileHandler):
    """A log that is not worth a traceback when its disk is full."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing: what matters is written elsewhere, and its failure is told."""


def _log_to(path: Path) -> None:
    """Send Ray's own messages to a file."""
    handler = _LogFile(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "ray"]
    for logger in map(logging.getLogger, {"ray", *names}):
        logger.handlers = [handler] if logger.name == "ray" else []
        logger.propagate = logger.name != "ray"
        logger.setLevel(logging.WARNING)
