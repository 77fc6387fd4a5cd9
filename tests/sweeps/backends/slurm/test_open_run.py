"""Two machines and a shared disk, no SLURM: ``care sweep run --open`` and ``care worker``."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from care.system.files import write_atomic
from sweeps.cli.train import train_trial
from sweeps.plan import make_plan
from sweeps.process.terminal import make_console
from sweeps.spec.sweep import load_sweep
from sweeps.store import Store
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.pooling import PLUGINS, Pool, Volunteer, wait_until
from tests.helpers.processes import start_care


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: Path) -> Pool:
    """A sweep whose trials train slowly, for this process and all that it starts."""
    monkeypatch.syspath_prepend(PLUGINS)
    monkeypatch.setenv("PYTHONPATH", str(PLUGINS), prepend=os.pathsep)
    monkeypatch.setenv("CARE_PLUGINS", "slow_encoder")
    monkeypatch.setenv("CARE_TEST_SLOW", str(tmp_path / "lab" / "slow"))
    made = Pool(tmp_path / "lab", {}, seeds=4, database=empty_database, wait=0.6)
    made.prepare()
    return made


@pytest.fixture
def run(sweep: Pool) -> Iterator[subprocess.Popen[str]]:
    """The open run; ended afterwards."""
    started = start_care("sweep", "run", "local.yaml", "--open", "--no-report", cwd=sweep.folder)
    yield started
    if started.poll() is None:
        started.kill()


def test_machines_join_are_killed_and_leave_when_it_is_cancelled(
    sweep: Pool, run: subprocess.Popen[str], tmp_path: Path
) -> None:
    head = sweep.pool / "head.json"
    wait_until(lambda: head.exists() and sweep.head()["state"] == "running", what="a head")
    part = ("--cores", "1")
    with Volunteer(sweep, options=part) as killed:
        trial = killed.wait_for_trial()
        assert f"1 joined ({killed.host})" in sweep.care("sweep", "status", sweep.name)
        said = sweep.care("worker", sweep.name, check=False)
        assert "another worker has this machine already" in said
        epoch, process = sweep.epochs(trial), sweep.claim(trial)["pid"]
        killed.signal(signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{process}").exists(), 20, "its trials end with it")
    with Volunteer(sweep, options=part) as hurried:
        hurried.wait_for_trial()
        for _ in range(2):
            hurried.signal(signal.SIGINT)
        assert hurried.wait(20) == 130
    with Volunteer(sweep, options=part) as last:
        last.wait_for_trial()
        content, now = head.read_bytes(), time.time()
        head.write_bytes(b"{")  # as if the shared folder failed for a moment
        time.sleep(3)
        write_atomic(head, content)
        wait_until(lambda: _at_work(sweep, since=now) == 2, what="both have stayed")
        assert "is cancelled" in sweep.care("sweep", "cancel", sweep.name)
        assert last.wait(30) == 0
        assert "pooled is cancelled; this machine has left it" in last.output
    said, _ = run.communicate(timeout=60)
    assert "may join: care worker pooled --store" in said
    assert "To resume: care sweep run local.yaml --open" in said
    assert sweep.status()["active"] is False

    sweep.hurry()
    sweep.care("sweep", "run", "local.yaml", "--no-report")
    sweep.assert_went_on(trial, epoch)
    plan = make_plan(load_sweep(sweep.folder / "local.yaml"), store := Store(tmp_path / "alone"))
    assert len(plan.trials) == sweep.finished()
    for planned in plan.trials:
        joined = sweep.folder / "runs" / "trials" / planned.trial_id
        if len(sweep.starts(joined)) > 1:
            train_trial(planned.config, store, make_console())
            assert_equal_to_the_bit(joined, store.trial(planned.trial_id).path)


def _at_work(sweep: Pool, since: float) -> int:
    workers = sweep.workers().values()
    return sum(worker["state"] == "running" and worker["at"] > since for worker in workers)
