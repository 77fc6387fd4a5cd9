"""Deliver a message to a webhook or a command, within a time limit."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from sweeps.notify.target import Target

SECONDS = 10.0
"""Time limit of a message."""


class DeliveryError(Exception):
    """A message was not delivered; the text holds no address."""


def deliver(target: Target, message: Mapping[str, Any], seconds: float = SECONDS) -> None:
    """Send a message as JSON.

    A webhook gets it by POST, a command by its standard input.

    Args:
        target: The receiver.
        message: The message.
        seconds: Time limit of each step of the connection, or of the command.

    Raises:
        DeliveryError: The message was not delivered.
    """
    body = json.dumps(message, ensure_ascii=False).encode()
    if target.url:
        _post(target.url, body, seconds)
    else:
        _run(target.command, body, seconds)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses to send the message elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(url: str, body: bytes, seconds: float) -> None:
    # Errors of urllib may quote the address: only the kind of each is kept.
    try:
        headers = {"Content-Type": "application/json", "User-Agent": "care"}
        request = urllib.request.Request(url, body, headers, method="POST")
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=seconds) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        raise DeliveryError(f"it answered {error.code}") from None
    except TimeoutError:
        raise DeliveryError(f"no answer within {seconds:g} s") from None
    except urllib.error.URLError as error:
        late = isinstance(error.reason, TimeoutError)
        reason = getattr(error.reason, "strerror", None) or "it cannot be reached"
        raise DeliveryError(f"no answer within {seconds:g} s" if late else reason) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DeliveryError(f"it cannot be reached ({type(error).__name__})") from None


def _run(command: tuple[str, ...], body: bytes, seconds: float) -> None:
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise DeliveryError(error.strerror or "it cannot be started") from None
    try:
        process.communicate(body, timeout=seconds)
    except subprocess.TimeoutExpired:
        # Its group: a shell script's children would go on.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise DeliveryError(f"it did not end within {seconds:g} s") from None
    if process.returncode:
        raise DeliveryError(f"it ended with exit status {process.returncode}")
