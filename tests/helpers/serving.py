"""A real MLflow server, and a proxy before it that can fail as servers do."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.helpers.processes import wait_for


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Check that a server answers."""
    with contextlib.suppress(OSError), urllib.request.urlopen(url) as answer:
        return bool(answer.status == 200)
    return False


class Server:
    """An MLflow server of its own database that can be stopped and started.

    Its storage for files is a folder, unless ``artifacts`` names another one for its clients.
    """

    def __init__(
        self, folder: Path, address: str = "127.0.0.1", artifacts: str | None = None
    ) -> None:
        storage = artifacts or str(folder / "artifacts")
        self._storage = ["--artifacts-destination", storage]
        if artifacts:  # the clients write there themselves
            self._storage = ["--no-serve-artifacts", "--default-artifact-root", storage]
        self._place = ["--host", address, "--port", str(port := free_port())]
        self.uri = f"http://{address}:{port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", *self._place]
        command += ["--backend-store-uri", f"sqlite:///{self._folder / 'server.db'}"]
        command += [*self._storage, "--workers", "1"]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(lambda: answers(f"{self.uri}/health"))

    def stop(self) -> None:
        """Kill it, if it runs."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def runs(self) -> list[Any]:
        """Every run of the experiment."""
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self.uri)
        experiment = client.get_experiment_by_name("care")
        assert experiment
        return list(client.search_runs([experiment.experiment_id]))


_QUESTIONS = ("/search", "/get", "/get-by-name", "/list")


class Proxy:
    """Hands requests on to a server, or answers with an error of its own.

    Attributes:
        uri: Its address.
        status: What it answers; 200 hands on.
        requests: Method and path of each request.
    """

    def __init__(self, server: Server) -> None:
        self.status = 200
        self.requests: list[tuple[str, str]] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path = self.path.partition("?")[0]
                proxy.requests.append((str(self.command), path))
                status, content = proxy.status, b'{"error_code": "PERMISSION_DENIED"}'
                if status == 200:
                    status, content = _forward(server, self.command, self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._http.server_port
        self.uri = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def writes(self) -> list[tuple[str, str]]:
        """The requests that change something."""
        return [
            (method, path)
            for method, path in self.requests
            if method != "GET" and not path.endswith(_QUESTIONS)
        ]

    def stop(self) -> None:
        """Answer no more."""
        self._http.shutdown()
        self._http.server_close()


def _forward(server: Server, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    request = urllib.request.Request(f"{server.uri}{path}", body or None, method=method)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
