"""Pages as a browser renders them: one Chromium for all, read while it works."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1500,1100",
    "--remote-debugging-pipe",
)  # fmt: skip
_PATIENCE, _POLL = 120.0, 0.25  # seconds
# Chromium reads descriptor 3 and writes descriptor 4.
_START = (
    "import fcntl, os, sys; ends = map(int, sys.argv[1:3]); "
    "ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in ends]; "
    "os.dup2(ends[0], 3); os.dup2(ends[1], 4); os.execvp(sys.argv[3], sys.argv[3:])"
)
_ELEMENTS = "document.documentElement.outerHTML"


def find_browser() -> str:
    """Find Chromium; a test without it fails with the way to get it."""
    named = os.environ.get("CHROME")
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    if not found:
        pytest.fail(
            "no Chromium: install it (Debian: apt-get install --no-install-recommends chromium), "
            "or name one in CHROME"
        )
    return found


class Browser:
    """A running Chromium, driven by its DevTools protocol over two pipes."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._received, self._number = b"", 0

    def read(self, address: str, *expected: str, picture: Path | None = None) -> str:
        """Open a page in a new tab, wait for the expected texts, and return its elements.

        Args:
            address: Its address.
            expected: Texts, e.g. of headings or attributes.
            picture: A PNG file to write when the texts are there, for people.
        """
        target = self._ask("Target.createTarget", url=address)["targetId"]
        session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        end, text = time.monotonic() + _PATIENCE, ""
        while not all(part in text for part in expected):
            if time.monotonic() > end:
                missing = [part for part in expected if part not in text]
                pytest.fail(f"{address} does not show {missing}")
            time.sleep(_POLL)
            text = str(self._evaluate(session, _ELEMENTS))
        if picture:
            shot = self._ask("Page.captureScreenshot", session)["data"]
            picture.write_bytes(base64.b64decode(shot))
        self._ask("Target.closeTarget", targetId=target)
        return text

    def _evaluate(self, session: str, expression: str) -> Any:
        answer = self._ask("Runtime.evaluate", session, expression=expression, returnByValue=True)
        return answer.get("result", {}).get("value", "")

    def _ask(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        self._number += 1
        command = {"id": self._number, "method": method, "params": params}
        command |= {"sessionId": session} if session else {}
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            answer = json.loads(self._message())
            if answer.get("id") == self._number:
                return dict(answer.get("result", {}))

    def _message(self) -> bytes:
        while b"\0" not in self._received:
            content = os.read(self._answers, 2**16)
            if not content:
                pytest.fail("Chromium ended")
            self._received += content
        message, _, self._received = self._received.partition(b"\0")
        return message


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    """Start Chromium, and end it."""
    browser = find_browser()
    (command_end, commands), (answers, answer_end) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [sys.executable, "-c", _START, str(command_end), str(answer_end), browser]
        process = subprocess.Popen(
            [*command, *_OPTIONS, f"--user-data-dir={profile}"],
            pass_fds=(command_end, answer_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_end)
        os.close(answer_end)
        try:
            yield Browser(commands, answers)
        finally:
            process.terminate()
            process.wait(30)
            os.close(commands)
            os.close(answers)
