"""Limits of a sweep on a real Ray: a budget that is used up and raised, and the first failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.helpers.declaring import WEIGHT, declare
from tests.helpers.processes import care
from tests.helpers.tracked import dump

RUN = ("sweep", "run", "sweep.yaml")


def account(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "runs/sweeps/tiny/account.json").read_text())
    return read


def states(folder: Path) -> list[str]:
    files = (folder / "runs/trials").glob("*/status.json")
    return sorted(json.loads(file.read_text())["state"] for file in files)


def report(folder: Path) -> str:
    return (folder / "runs/sweeps/tiny/report/report.html").read_text()


def tags(folder: Path) -> dict[str, str]:
    """The tags of the sweep's run in MLflow."""
    (run,) = (one for one in dump(folder / "runs") if one["tags"]["care.kind"] == "sweep")
    found: dict[str, str] = run["tags"]
    return found


def test_a_budget_ends_the_runs_until_it_is_raised(tmp_path: Path) -> None:
    declare(tmp_path, axes={WEIGHT: [0.1]}, seeds=3, budget={"core_hours": 1e-6})
    done = care(*RUN, cwd=tmp_path, check=False)
    text = " ".join(done.stdout.split())
    assert done.returncode == 1, text
    assert "budget of 1e-06 core-hours used up: " in text
    assert "to continue: care sweep run sweep.yaml budget.core_hours=" in text
    assert "finished" not in states(tmp_path)
    spent = account(tmp_path)
    assert spent["stopped"] == "budget"
    assert spent["core_hours"] >= 1e-6
    assert "Budget of 1e-06 core-hours used up" in report(tmp_path)
    assert tags(tmp_path)["stopped"] == spent["reason"]
    assert tags(tmp_path)["hours"].endswith(" spent, budget 1e-06")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs/trials").rglob("*")}
    again = care(*RUN, cwd=tmp_path, check=False)
    assert again.returncode == 1
    assert "used up" in again.stdout
    assert "starting Ray" not in again.stdout
    assert {
        path: path.stat().st_mtime_ns for path in (tmp_path / "runs/trials").rglob("*")
    } == files
    assert account(tmp_path) == spent
    raised = care(*RUN, "budget.core_hours=5", cwd=tmp_path)
    assert "core-hours: " in raised.stdout
    assert "budget 5" in raised.stdout
    assert states(tmp_path) == ["finished"] * 3
    assert account(tmp_path)["stopped"] == ""
    assert account(tmp_path)["core_hours"] > spent["core_hours"]
    assert "Core-hours: " in report(tmp_path)
    assert "used up" not in report(tmp_path)
    assert "stopped" not in tags(tmp_path)
    assert tags(tmp_path)["hours"].endswith(" spent, budget 5")


def test_the_first_failure_ends_the_run_in_good_order(tmp_path: Path) -> None:
    """The trial that fails is declared last, but starts first."""
    rates = "optimizer.learning_rate"
    declare(
        tmp_path,
        axes={rates: [1e-3, 1e-2, 1e30]},
        seeds=1,
        resources={"threads": 1, "pack": 1},
        first=[{rates: 1e30}],
        fail_fast=True,
    )
    done = care(*RUN, "--no-report", cwd=tmp_path, check=False)
    text = " ".join(done.stdout.split())
    assert done.returncode == 1, text
    assert "stopped at the first failed trial (fail_fast): learning_rate=1e+30 seed=0" in text
    assert states(tmp_path).count("failed") == 1
    assert account(tmp_path)["stopped"] == "failures"
    planned = json.loads(care("sweep", "plan", "sweep.yaml", "--json", cwd=tmp_path).stdout)
    assert planned["new"] + planned["paused"] >= 1
