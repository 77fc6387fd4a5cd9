"""One tracking server for all tests beside this file, whose database has a small disk of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.store import Store
from sweeps.tracking.sweep_sync import sync_store
from tests.helpers.tracked import dump
from tests.helpers.tracking_server import PASSWORDS, TrackingServer


@pytest.fixture(scope="session")
def server() -> Iterator[TrackingServer]:
    """A server that is up, with three users."""
    made = TrackingServer()
    disk = made.state / "postgres"
    try:
        made.call("init", "--port", str(made.port))
        made.set("WORKERS", "1")
        size = "size=250m,mode=700,uid=0"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "care-tracking", disk], check=True)
        made.call("up")
        for user, password in PASSWORDS.items():
            role = "reader" if user == "reader" else "writer"
            made.call("user", "add", user, "--role", role, password=password)
        yield made
    finally:
        if (made.state / "server.env").exists():
            made.call("down", check=False)
        subprocess.run(["umount", disk], check=False)
        made.remove()


@pytest.fixture
def writer(server: TrackingServer, monkeypatch: pytest.MonkeyPatch) -> TrackingServer:
    """Give this process the variables of a user who may write."""
    for name, value in server.client("writer").items():
        monkeypatch.setenv(name, value)
    return server


_PLACES = re.compile(r"(?<=run_uuid=)\w+|(?<=#/experiments/)\d+|\"note\":\"\w+\"")


def shown(root: Path, uri: str) -> dict[tuple[str, str, str], Any]:
    """Everything that MLflow shows of a store, without ids in links, which each database numbers."""
    found: dict[tuple[str, str, str], Any] = {}
    for run in dump(root, uri):
        name = str(run["name"])
        tags = {tag: _PLACES.sub("…", text) for tag, text in run["tags"].items()}
        rest = {"status": run["status"], "parent": run["parent"]}
        for kind, values in (
            ("", rest),
            ("tags", tags),
            ("params", run["params"]),
            ("metrics", run["metrics"]),
        ):
            found |= {(name, kind, key): value for key, value in values.items()}
    return found


@pytest.fixture
def assert_exact(
    server: TrackingServer, empty_database: Path, tmp_path: Path
) -> Callable[[Path], None]:
    """Compare what the server shows of a store with a projection made anew from its files."""
    file = tmp_path / "exact.db"
    shutil.copy(empty_database, file)

    def compare(root: Path) -> None:
        uri = f"sqlite:///{file}"
        sync_store(Store(root), uri)
        expected = shown(root, uri)
        assert expected
        assert shown(root, server.uri) == expected

    return compare
