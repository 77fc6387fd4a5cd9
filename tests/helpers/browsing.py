"""A page as a browser renders it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1500,1100",
)  # fmt: skip
_BUDGETS = (15_000, 30_000, 60_000)  # milliseconds of the page's clock


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


def read_page(address: str, *expected: str) -> str:
    """Render a page, scripts and all, until it has the expected texts; return its elements."""
    browser, text = find_browser(), ""
    for budget in _BUDGETS:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            command = [browser, *_OPTIONS, f"--user-data-dir={profile}"]
            command += [f"--virtual-time-budget={budget}", "--dump-dom", address]
            text = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
        if all(part in text for part in expected):
            return text
    missing = [part for part in expected if part not in text]
    pytest.fail(f"{address} does not show {missing}")
