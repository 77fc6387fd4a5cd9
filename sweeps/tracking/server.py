"""``care ui``: a server for the MLflow page of a store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from urllib.parse import quote, urlencode

from care.errors import CareError, ConfigError, Problem
from care.trials.records import StoreRecord, read_record
from sweeps.process.lock import locked
from sweeps.store import Store
from sweeps.store_identity import settle_identity
from sweeps.tracking.background import describe_error
from sweeps.tracking.database import STORE_TAG, connect, find_experiment
from sweeps.tracking.tracking_uri import Destination, destination_of

_QUIET_SERVER = {
    "PYTHONWARNINGS": "ignore",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its jobs score language models
}
_SWEEP, _TRIAL = "tags.`care.kind` = 'sweep'", "tags.`care.kind` = 'trial'"


def check_port(host: str, port: int) -> None:
    """Refuse a port that another process listens on.

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


def serve(store: Store, host: str, port: int, uri: str | None) -> int:
    """Serve the page until Ctrl-C or SIGTERM; if a server has the runs, print its addresses.

    Returns:
        The server's exit status; 0 after Ctrl-C, and if there is nothing to serve.

    Raises:
        CareError: The port is taken, or the server that has the runs does not answer.
    """
    destination = destination_of(store.root, uri)
    if destination.database is None:
        _print_server(store, destination)
        return 0
    check_port(host, port)
    store.prepare()
    identity = settle_identity(store.root, print)
    with locked(destination.lock, print):
        _, experiment = connect(destination, identity, print)
    uuid = "" if destination.own else identity.uuid
    print(f"MLflow's runs in {destination} (the first page takes some seconds; Ctrl-C ends it)")
    _print_links(f"http://{host}:{port}", experiment, uuid)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", destination.uri]
    command += ["--artifacts-destination", str(destination.artifacts)]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]
    # Its own process group: its children end with it, and Ctrl-C reaches this process only.
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


def _print_server(store: Store, destination: Destination) -> None:
    print(
        f"The runs are kept at {destination} (--tracking-uri or MLFLOW_TRACKING_URI), "
        "so no page is served here."
    )
    if not destination.uri.startswith(("http://", "https://")):
        return
    try:
        experiment = find_experiment(destination)
    except Exception as error:
        raise CareError(
            f"{destination}: MLflow does not answer ({describe_error(error)})"
        ) from error
    if experiment is None:
        print("It has no runs of care yet; 'care track sync' writes those of the store.")
        return
    record = read_record(store.root / "store.json", StoreRecord)
    uuid = (record and record.uuid) or ""
    _print_links(str(destination).rstrip("/").replace("***@", ""), experiment, uuid)


def _print_links(address: str, experiment: str, uuid: str) -> None:
    """Print the addresses of the pages of sweeps and trials; with ``uuid``, of one store's."""
    # Without the type, MLflow may open its pages for language models.
    page = f"{address}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    of_store = f" and tags.`{STORE_TAG}` = '{uuid}'" if uuid else ""
    # Sorted by date, the page would fold the trials into their sweeps.
    trials = {
        "searchFilter": _TRIAL + of_store,
        "orderByKey": "params.`objective.equivariance.weight`",
        "orderByAsc": "true",
        "compareRunsMode": "CHART",
    }
    sweeps = {"searchFilter": _SWEEP + of_store} if of_store else {}
    print(f"sweeps: {page}{_query(sweeps)}")
    print(f"charts of all trials: {page}{_query(trials)}", flush=True)


def _query(fields: dict[str, str]) -> str:
    return "".join(
        f"&{urlencode({name: value}, quote_via=quote)}" for name, value in fields.items()
    )


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server's process group by SIGTERM, then by SIGKILL."""
    for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        try:
            os.killpg(server.pid, number)
            server.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
