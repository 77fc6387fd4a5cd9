"""This process's connection to a Ray, whose messages and Tune's go to a file."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.process.imports import large_imports
from sweeps.process.logging import logged_to


@contextlib.contextmanager
def connected(address: str, log: Path, **settings: Any) -> Iterator[None]:
    """Be connected to a Ray.

    :func:`sweeps.backends.ray_environment.set_ray_environment` is called before.

    Args:
        address: ``local`` to start one, or that of a head.
        log: File for the messages of Ray and Tune, and for our own lines between them.
        settings: More of ``ray.init``.
    """
    with large_imports():
        import ray
        import ray.tune

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
        """Ignore it: what matters is written elsewhere, and a failure there is reported."""


def _send_ray_messages_to(handler: logging.Handler) -> None:
    """Send Ray's own messages to one handler, and nowhere else."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "ray"]
    for logger in map(logging.getLogger, {"ray", *names}):
        logger.handlers = [handler] if logger.name == "ray" else []
        logger.propagate = logger.name != "ray"
        logger.setLevel(logging.WARNING)
