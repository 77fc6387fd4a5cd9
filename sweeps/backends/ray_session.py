"""Connect this process to Ray, and send the messages of Ray and Tune to a file."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from care.errors import CareError
from care.system.permissions import open_file
from care.system.redaction import redact
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
    handler.setFormatter(_Redacted("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    _send_ray_messages_to(handler)
    _raylet_messages_to_log()
    _keep_credentials_off_command_lines()
    _keep_signal_handlers()
    _start_used_processes_only()
    with logged_to(handler):
        try:
            if address != "local":
                settings["job_config"] = _import_submitted_code()
            _init(handler, log, address=address, **settings)
            _send_ray_messages_to(handler)  # again: starting Ray configures its loggers
            yield
        finally:
            ray.shutdown()


def _init(handler: logging.Handler, log: Path, **settings: Any) -> None:
    """Start Ray or connect to one.

    Raises:
        CareError: Ray did not start, e.g. on a machine that is too busy.
    """
    import ray

    try:
        ray.init(
            log_to_driver=False,
            logging_level=logging.WARNING,
            configure_logging=False,
            **settings,
        )
    except Exception as error:
        _send_ray_messages_to(handler)  # starting Ray configures its loggers
        logging.getLogger("ray").exception("Ray did not start")
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CareError(
            f"Ray did not start ({redact(reason)[:300]}). The machine may be busy or short of "
            f"memory or processes (ulimit -u). Repeat the command; no trial is lost. Log: {log}"
        ) from error


def _import_submitted_code() -> Any:
    """Make trials import from their node's PYTHONPATH, the copy of the submission.

    Ray would add this process's working folder before it, which may be a checkout that is edited.
    """
    from ray.job_config import JobConfig

    job = JobConfig()
    job._runtime_env_has_working_dir = lambda: True
    return job


def _keep_credentials_off_command_lines() -> None:
    """Stop Tune from passing AWS credentials to trials as arguments of their processes.

    Every user of the machine can read these. Trials inherit the variables anyhow.
    """
    from ray.tune.execution import class_cache

    names = getattr(class_cache, "ENV_VARS_TO_PROPAGATE", ())
    kept = {name for name in names if not name.startswith("AWS_")}
    class_cache.ENV_VARS_TO_PROPAGATE = kept


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


def _start_used_processes_only() -> None:
    """Start no process of Ray that a sweep does not use; ``ray.init`` has no option for them.

    These copy the logs of workers to the driver, scale a cluster in a cloud, and count usage. Each
    takes a second of a core and 80 MB.
    """
    from ray._private.node import Node

    def start_nothing(*_: object, **__: object) -> None:
        """Start no process."""

    for name in ("start_log_monitor", "start_monitor", "start_api_server"):
        setattr(Node, name, start_nothing)


class _Redacted(logging.Formatter):
    """Removes secrets from a record and its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return redact(super().format(record))


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
