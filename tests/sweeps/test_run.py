"""`care sweep run` on a real Ray: to the end, again, killed, interrupted, twice at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import TINY
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.declaring import SWEEP, WEIGHT, declare
from tests.helpers.processes import (
    alive,
    care,
    command_of,
    descendants,
    lines_in,
    start_care,
    wait_for,
)

EPOCHS = TINY["training"]["epochs"]
# Processes of Ray that a sweep does not use.
UNUSED = ("log_monitor.py", "monitor.py", "dashboard.py", "ray::IDLE")
# Processes of the sweeps that tests ended; the last test looks for them.
STARTED: set[int] = set()


def plan(folder: Path, file: str = "sweep.yaml") -> dict[str, int]:
    counts: dict[str, int] = json.loads(care("sweep", "plan", file, "--json", cwd=folder).stdout)
    return counts


def assert_trials_equal(folder: Path, expected: Path) -> None:
    trials, wanted = folder / "runs" / "trials", expected / "runs" / "trials"
    assert {path.name for path in trials.iterdir()} == {path.name for path in wanted.iterdir()}
    for trial in trials.iterdir():
        assert_equal_to_the_bit(trial, wanted / trial.name)


def mlflow_statuses(folder: Path) -> dict[str, str]:
    """Status of each MLflow run, by name."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    experiments = [found.experiment_id for found in client.search_experiments()]
    return {run.info.run_name: run.info.status for run in client.search_runs(experiments)}


def epochs_done(folder: Path) -> int:
    return sum(map(lines_in, (folder / "runs" / "trials").glob("*/metrics.jsonl")))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    declare(folder)
    done = care("sweep", "run", "sweep.yaml", cwd=folder)
    assert "4 finished" in done.stdout
    assert (folder / "runs/sweeps/tiny/report/report.html").exists()
    return folder


def test_plan_before_and_after(undisturbed: Path, tmp_path: Path) -> None:
    declare(tmp_path)
    before = plan(tmp_path)
    assert {before[key] for key in ("finished", "running", "failed", "stale")} == {0}
    assert before["new"] == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["experiment.yaml", "sweep.yaml"]
    after = plan(undisturbed)
    assert (after["new"], after["finished"]) == (0, 4)


def test_again_runs_nothing(undisturbed: Path) -> None:
    trials = undisturbed / "runs" / "trials"
    before = {path: path.stat().st_mtime_ns for path in trials.rglob("*")}
    care("sweep", "run", "sweep.yaml", cwd=undisturbed)
    assert {path: path.stat().st_mtime_ns for path in trials.rglob("*")} == before


def test_sweeps_share_trials(undisturbed: Path) -> None:
    other = {**SWEEP, "name": "other", "axes": {WEIGHT: [0.1, 1.0]}}
    (undisturbed / "other.yaml").write_text(yaml.safe_dump(other))
    counts = plan(undisturbed, "other.yaml")
    assert (counts["new"], counts["finished"]) == (2, 2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ended_and_run_again_gives_the_undisturbed_numbers(
    undisturbed: Path, tmp_path: Path, number: signal.Signals
) -> None:
    declare(tmp_path)
    run = start_care("sweep", "run", "sweep.yaml", cwd=tmp_path)
    wait_for(lambda: epochs_done(tmp_path) >= 2)
    started = descendants(run.pid)
    commands = [command_of(pid) for pid in started]
    STARTED.update(started)
    os.kill(run.pid, number)
    output = run.communicate(timeout=60)[0]
    assert run.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert [command for command in commands if "/raylet/raylet" in command], commands
    assert [command for command in commands if any(part in command for part in UNUSED)] == []
    if number != signal.SIGKILL:
        assert "To resume: care sweep run" in output
        assert plan(tmp_path)["running"] == 0
        statuses = mlflow_statuses(tmp_path)
        assert statuses["tiny"] == "KILLED"
        assert set(statuses.values()) <= {"KILLED", "FINISHED"}
    care("sweep", "run", "sweep.yaml", "--no-report", cwd=tmp_path)
    assert_trials_equal(tmp_path, undisturbed)
    labels = [f"λ={weight} seed={seed}" for weight in (0, 0.1) for seed in (0, 1)]
    assert mlflow_statuses(tmp_path) == dict.fromkeys(["tiny", *labels], "FINISHED")


def test_ctrl_c_reaches_the_whole_group(undisturbed: Path, tmp_path: Path) -> None:
    """A terminal sends SIGINT to every process of the group, Ray's too."""
    declare(tmp_path)
    run = start_care("sweep", "run", "sweep.yaml", cwd=tmp_path)
    wait_for(lambda: epochs_done(tmp_path) >= 1)
    STARTED.update(descendants(run.pid))
    os.killpg(run.pid, signal.SIGINT)
    output = run.communicate(timeout=60)[0]
    assert run.returncode == 130, output
    assert "Traceback" not in output
    trials = tmp_path / "runs" / "trials"
    state = {
        path.parent: json.loads(path.read_text())["state"] for path in trials.glob("*/status.json")
    }
    assert set(state.values()) <= {"paused", "finished"}
    stopped = next(trial for trial in state if state[trial] == "paused")
    max(stopped.glob("checkpoint-*.pt")).write_bytes(b"damaged by a power cut")
    again = care("sweep", "run", "sweep.yaml", "--no-report", cwd=tmp_path)
    assert "is damaged" in again.stdout
    assert_trials_equal(tmp_path, undisturbed)


def test_two_at_once_run_each_trial_once(undisturbed: Path, tmp_path: Path) -> None:
    declare(tmp_path)
    command = ("sweep", "run", "sweep.yaml", "--no-report")
    runs = [start_care(*command, cwd=tmp_path) for _ in range(2)]
    outputs = [run.communicate(timeout=150)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert sum("waiting for it" in output for output in outputs) == 1
    assert epochs_done(tmp_path) == 4 * EPOCHS
    for timings in (tmp_path / "runs" / "trials").glob("*/timings.jsonl"):
        assert lines_in(timings) == EPOCHS
    assert_trials_equal(tmp_path, undisturbed)


def test_a_killed_trial_process_is_replaced(undisturbed: Path, tmp_path: Path) -> None:
    declare(tmp_path)
    run = start_care("sweep", "run", "sweep.yaml", "--no-report", cwd=tmp_path)
    wait_for(lambda: epochs_done(tmp_path) >= 1)
    claims = (tmp_path / "runs" / "trials").glob("*/claim-??????")
    os.kill(json.loads(next(claims).read_text())["pid"], signal.SIGKILL)
    output = run.communicate(timeout=120)[0]
    assert run.returncode == 0, output
    assert_trials_equal(tmp_path, undisturbed)


def test_a_trial_that_no_memory_is_large_enough_for_fails_alone(tmp_path: Path) -> None:
    """It is tried with less and less beside it, at last with nothing, and then given up."""
    declare(tmp_path, axes={"model.head.hidden": [32, 10**10]}, seeds=1)
    done = care("sweep", "run", "sweep.yaml", "--no-report", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "1 finished, 1 failed" in done.stdout, done.stdout
    states = [
        json.loads(path.read_text()) for path in (tmp_path / "runs/trials").glob("*/status.json")
    ]
    failed = next(state for state in states if state["state"] == "failed")
    assert failed["error"]["kind"] == "out_of_memory"


OPEN_TO_ALL = """
from sweeps.backends import local
make_scratch = local.make_scratch
def open_to_all(parent):
    folder = make_scratch(parent)
    folder.chmod(0o777)
    return folder
local.make_scratch = open_to_all
from sweeps.cli.main import main
main()
"""


def test_a_process_that_cannot_start_fails_its_trial_with_the_reason(tmp_path: Path) -> None:
    """The trial has failed, as one that can be retried; it is not damaged."""
    declare(tmp_path, axes={WEIGHT: [0.1]}, seeds=1, resources={"retries": 0})
    command = [sys.executable, "-c", OPEN_TO_ALL, "sweep", "run", "sweep.yaml", "--no-report"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1, done.stderr
    assert "1 failed" in done.stdout, done.stdout
    assert "not a folder that only this user can write" in " ".join(done.stdout.split())
    planned = care("sweep", "plan", "sweep.yaml", cwd=tmp_path).stdout
    assert "not a folder that only this user can write" in " ".join(planned.split())
    counts = plan(tmp_path)
    assert (counts["failed"], counts["damaged"]) == (1, 0)


def test_none_of_the_ended_sweeps_left_a_process() -> None:
    """Agents of a Ray whose driver was killed try to report for a minute before they give up."""
    assert STARTED
    wait_for(lambda: not alive(STARTED))
    assert {pid: command_of(pid) for pid in alive(STARTED)} == {}
