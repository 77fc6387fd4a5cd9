"""``care ui``: a page that answers, and nothing left when it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.helpers.processes import alive, descendants, start_care, wait_for
from tests.helpers.serving import free_port
from tests.helpers.tracked import copy_database


def answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url) as answer:
        return bool(answer.status == 200)
    return False


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "runs"), (signal.SIGTERM, "a b%20c?d#e%j'é")]
)
def test_serves_until_it_is_told_to_end(
    tmp_path: Path, number: signal.Signals, name: str, empty_database: Path
) -> None:
    copy_database(empty_database, tmp_path / name)
    (tmp_path / name / "store.json").write_text('{"format": 1}')
    port = free_port()
    page = start_care("ui", "--port", str(port), "--store", name, cwd=tmp_path)
    wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"))
    started = descendants(page.pid)
    os.kill(page.pid, number)
    output = page.communicate(timeout=60)[0]
    assert page.returncode == 0, output
    wait_for(lambda: not alive(started))
    assert (
        f"sweeps: http://127.0.0.1:{port}/#/experiments/1/runs?workflowType=machine_learning\n"
        in output
    )
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert "Traceback" not in output
