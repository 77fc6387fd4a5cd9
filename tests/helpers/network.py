"""What urllib, and so torchvision, is connected to."""

from __future__ import annotations

import urllib.request

import pytest

_NOBODY = "http://127.0.0.1:9"


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection is refused, as where there is no network."""
    _connect({"http": _NOBODY, "https": _NOBODY}, monkeypatch)


def this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections go to servers of the test, past the proxies of the environment."""
    _connect({}, monkeypatch)


def _connect(proxies: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    monkeypatch.setattr(urllib.request, "_opener", opener)
