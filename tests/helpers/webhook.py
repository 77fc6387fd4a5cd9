"""A real HTTP server that takes messages, hangs, or answers with an error."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Webhook:
    """Takes messages while entered.

    Attributes:
        messages: Messages in the order of their arrival.
        status: Status of each answer.
        hang: Answers wait until the end.
        url: Address with a secret in its path.
    """

    def __init__(self, status: int = 200, *, hang: bool = False) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status, self.hang = status, hang
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks/{SECRET}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.headers["Content-Type"] == "application/json"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                webhook.messages.append(json.loads(body))
                if webhook.hang:
                    webhook._over.wait(60)
                self.send_response(webhook.status)
                self.send_header("Location", f"http://127.0.0.1:1/{SECRET}")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        return Handler

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()


SECRET = "T0-very-secret"
