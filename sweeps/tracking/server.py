"""The MLflow page of a store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

from care.errors import ConfigError, Problem
from sweeps.tracking.database import connect, default_tracking_uri, quiet_environment, writing

_QUIET_SERVER = {
    "PYTHONWARNINGS": "ignore",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its jobs score language models
}
# Sorted by anything but the date, the page shows trials themselves, not folded into their sweeps.
_ALL_TRIALS = urlencode(
    {
        "searchFilter": "tags.`care.kind` = 'trial'",
        "orderByKey": "params.`objective.equivariance.weight`",
        "orderByAsc": "true",
        "compareRunsMode": "CHART",
    },
    quote_via=quote,
)


def check_port(host: str, port: int) -> None:
    """Refuse a port that somebody else listens on.

    Raises:
        ConfigError: Names the port and the option that chooses another one.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            allowed = f"allowed: a free one, e.g. --port {port + 1} ({error.strerror})"
            raise ConfigError("care ui", [Problem("--port", port, allowed)]) from error


def serve(store: Path, host: str, port: int) -> int:
    """Serve the page until Ctrl-C or SIGTERM; the server ends with it.

    Returns:
        The server's exit status; 0 after Ctrl-C.

    Raises:
        ConfigError: The port is taken.
    """
    check_port(host, port)
    quiet_environment()
    uri = default_tracking_uri(store)
    with writing(store):
        _, experiment = connect(store, uri)
    # Without the type MLflow may open its pages for language models.
    page = f"http://{host}:{port}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    print(f"sweeps: {page} (the first page takes some seconds; Ctrl-C ends it)")
    print(f"charts of all trials: {page}&{_ALL_TRIALS}", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--artifacts-destination", str((store / "mlflow-artifacts").resolve())]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]
    # A group of its own: the server's children end with it, and Ctrl-C comes to us alone.
    environment = {**os.environ, **_QUIET_SERVER}
    server = subprocess.Popen(command, start_new_session=True, env=environment)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server's whole group, kindly and then not."""
    for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        try:
            os.killpg(server.pid, number)
            server.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
