"""``care ui``: a server for the MLflow page of a store."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Mapping

from care.errors import CareError
from care.system.permissions import is_shared
from care.trials.records import StoreRecord, read_record
from sweeps.process.lock import locked
from sweeps.store import Store
from sweeps.store_identity import settle_identity
from sweeps.tracking.background import describe_error
from sweeps.tracking.database import connect, find_experiment
from sweeps.tracking.exposure import check_host, check_port, url_of
from sweeps.tracking.pages import check_target, list_pages
from sweeps.tracking.tracking_uri import Destination, destination_of

_QUIET_SERVER = {
    "PYTHONWARNINGS": "ignore",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its jobs score language models
}


def serve(
    store: Store,
    host: str,
    port: int,
    uri: str | None,
    target: str = "",
    *,
    browser: bool = False,
    allow_anyone: bool = False,
) -> int:
    """Serve the page until Ctrl-C or SIGTERM; if a server has the runs, print its addresses.

    Args:
        store: The store.
        host: Address to serve on.
        port: Port to serve on.
        uri: MLflow's tracking URI; None for the store's SQLite file.
        target: A sweep's name, or the first digits of a trial; empty for all sweeps.
        browser: Whether to open the first address in a browser.
        allow_anyone: Whether other machines may reach the page.

    Returns:
        The server's exit status; 0 after Ctrl-C, and if there is nothing to serve.

    Raises:
        CareError: Others would reach the page, the port is taken, the target is unknown, or the
            server that has the runs does not answer.
    """
    target = check_target(store, target)
    destination = destination_of(store.root, uri)
    if destination.database is None:
        _print_server(store, destination, target, browser=browser)
        return 0
    warning = check_host(host, port, allow_anyone=allow_anyone)
    check_port(host, port)
    store.prepare()
    identity = settle_identity(store.root)
    with locked(destination.lock, in_store=destination.in_store):
        client, experiment = connect(destination, identity)
        pages = list_pages(client, experiment, store, identity.uuid, not destination.own, target)
    print(f"MLflow's runs in {destination} (the first page takes some seconds; Ctrl-C ends it)")
    first = _print_pages(url_of(host, port), pages)
    if warning:
        print(warning, file=sys.stderr, flush=True)
    server = _start(destination, host, port, shared=is_shared(store.root))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        if browser:
            _open_when_served(server, host, port, first)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(server)


def _start(
    destination: Destination, host: str, port: int, *, shared: bool
) -> subprocess.Popen[bytes]:
    """Start MLflow's server on a store's SQLite file."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", destination.uri]
    command += ["--artifacts-destination", str(destination.artifacts)]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]
    environment = {**os.environ, **_QUIET_SERVER}
    umask = 0o007 if shared else 0o077
    # Its own process group: its children end with it, and Ctrl-C reaches this process only.
    return subprocess.Popen(command, start_new_session=True, env=environment, umask=umask)


def _print_server(store: Store, destination: Destination, target: str, *, browser: bool) -> None:
    print(
        f"The runs are kept at {destination} (--tracking-uri or MLFLOW_TRACKING_URI), "
        "so no page is served here."
    )
    if not destination.uri.startswith(("http://", "https://")):
        return
    record = read_record(store.root / "store.json", StoreRecord)
    uuid = (record and record.uuid) or ""
    try:
        client, experiment = find_experiment(destination)
        pages = list_pages(client, experiment, store, uuid, True, target) if experiment else {}
    except CareError:
        raise
    except Exception as error:
        raise CareError(
            f"{destination}: MLflow does not answer ({describe_error(error)})"
        ) from error
    if not pages:
        print("It has no runs of care yet; 'care track sync' writes those of the store.")
        return
    first = _print_pages(str(destination).rstrip("/").replace("***@", ""), pages)
    if browser:
        webbrowser.open(first)


def _print_pages(address: str, pages: Mapping[str, str]) -> str:
    """Print the addresses of the pages, and return the first one."""
    width = max(map(len, pages))
    for title, page in pages.items():
        print(f"{title.ljust(width)}  {address}/{page}", flush=True)
    return f"{address}/{next(iter(pages.values()))}"


def _open_when_served(server: subprocess.Popen[bytes], host: str, port: int, address: str) -> None:
    """Open an address in a browser once the server takes connections."""
    while server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            webbrowser.open(address)
            return
        time.sleep(0.2)


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
