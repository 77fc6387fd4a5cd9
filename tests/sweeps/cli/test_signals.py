"""Ctrl-C and SIGTERM at any moment: one line, status 130 or 143, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from care.system.claim import holder
from care.trials.state import State
from sweeps.store import Store
from tests.helpers.declaring import WEIGHT, declare, fabricate, load
from tests.helpers.processes import alive, command_of, descendants, lines_in, start_care, wait_for

# Sends this process a signal when it first imports a module: a moment that no clock can hit.
AT_IMPORT = """
import os, sys

class Signal:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Signal())
from sweeps.cli.main import main
main()
"""
SIGNALS = [signal.SIGINT, signal.SIGTERM]


def signalled_at_import(
    module: str, number: int, *arguments: str, cwd: Path
) -> subprocess.CompletedProcess[str]:
    script = AT_IMPORT.format(module=module, number=int(number))
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of this test's commands, short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("module", ["typer", "pydantic", "sweeps.plan"])
def test_while_it_starts(tmp_path: Path, module: str, number: signal.Signals) -> None:
    declare(tmp_path)
    done = signalled_at_import(module, number, "sweep", "plan", "sweep.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert done.stderr == f"stopped by {number.name}\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_while_a_report_is_written(tmp_path: Path, number: signal.Signals) -> None:
    sweep = load(tmp_path, axes={WEIGHT: [0, 0.1]}, seeds=1)
    store = Store(tmp_path / "runs")
    for weight in (0, 0.1):
        fabricate(store, sweep.trial({WEIGHT: weight}, 0), State.FINISHED, 3)
    done = signalled_at_import("analysis.page", number, "report", "sweep.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (128 + number, f"stopped by {number.name}\n")
    assert list((tmp_path / "runs" / "sweeps").glob("*/*")) == [], "no folder of a half report"


def test_while_ray_starts(tmp_path: Path, scratch: Path) -> None:
    """Ray's own handler of SIGTERM would end the driver with status 15."""
    declare(tmp_path)
    run = start_care("sweep", "run", "sweep.yaml", cwd=tmp_path)
    wait_for(lambda: any("raylet" in command_of(pid) for pid in descendants(run.pid)))
    below = descendants(run.pid)
    os.kill(run.pid, signal.SIGTERM)
    output = run.communicate(timeout=100)[0]
    assert run.returncode == 143, output
    assert "Traceback" not in output
    assert "To resume: care sweep run" in output
    wait_for(lambda: not alive(below))
    assert list(scratch.glob("care-*")) == []


def test_twice_ends_at_once(tmp_path: Path, scratch: Path) -> None:
    declare(tmp_path, overrides={"training.epochs": 1000})
    run = start_care("sweep", "run", "sweep.yaml", cwd=tmp_path)
    trials = tmp_path / "runs" / "trials"
    wait_for(lambda: sum(map(lines_in, trials.glob("*/metrics.jsonl"))) >= 1)
    below = descendants(run.pid)
    os.kill(run.pid, signal.SIGINT)
    os.kill(run.pid, signal.SIGINT)
    output = run.communicate(timeout=100)[0]
    assert run.returncode == 130, output
    assert "Traceback" not in output
    wait_for(lambda: not alive(below))
    assert list(scratch.glob("care-*")) == []
    folders = [*trials.iterdir(), tmp_path / "runs" / "sweeps" / "tiny"]
    assert [holder(folder) for folder in folders] == [None] * len(folders)
