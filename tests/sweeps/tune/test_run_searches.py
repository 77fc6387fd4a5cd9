"""Optuna and ASHA on a real Ray: to the end, killed on the way, and again with a change."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from sweeps.store import Store
from tests.helpers.declaring import WEIGHT, declare
from tests.helpers.processes import care, lines_in, start_care, wait_for

RUN = ("sweep", "run", "sweep.yaml", "--no-report")
METRIC = {"name": "heldout/gamma", "mode": "min"}


def plan(folder: Path) -> dict[str, Any]:
    counts: dict[str, Any] = json.loads(
        care("sweep", "plan", "sweep.yaml", "--json", cwd=folder).stdout
    )
    return counts


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    log = Store(folder / "runs").sweep("tiny").events()
    return [event for event in log if event["event"] == kind]


def test_optuna_killed_on_the_way_runs_as_many_trials_as_asked(tmp_path: Path) -> None:
    declare(
        tmp_path,
        axes={WEIGHT: {"low": 0.001, "high": 1.0, "log": True}},
        seeds=1,
        search={"name": "optuna", "trials": 4},
        metric=METRIC,
    )
    assert plan(tmp_path)["new"] == 4
    run = start_care(*RUN, cwd=tmp_path)
    trials = tmp_path / "runs" / "trials"
    wait_for(lambda: any(map(lines_in, trials.glob("*/metrics.jsonl"))))
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=60)
    begun = events(tmp_path, "suggest")

    done = care(*RUN, cwd=tmp_path)
    assert "4 finished" in done.stdout
    suggested = events(tmp_path, "suggest")
    assert suggested[: len(begun)] == begun, "what was begun is gone on with"
    assert len(suggested) == 4
    assert len({event["point"][WEIGHT] for event in suggested}) == 4
    assert plan(tmp_path) | {"finished": 4, "new": 0} == plan(tmp_path)

    removed = next(trials.iterdir())
    shutil.rmtree(removed)
    assert plan(tmp_path)["new"] == 1
    assert "4 finished" in care(*RUN, cwd=tmp_path).stdout
    assert removed.exists()
    assert events(tmp_path, "suggest") == suggested

    declare(
        tmp_path,
        axes={WEIGHT: {"low": 0.001, "high": 1.0, "log": True}},
        seeds=1,
        search={"name": "optuna", "trials": 4},
        metric={"name": "train/loss", "mode": "min"},
    )
    shown = care("sweep", "plan", "sweep.yaml", cwd=tmp_path).stdout
    assert "metric.name: heldout/gamma → train/loss" in shown
    refused = care(*RUN, cwd=tmp_path, check=False)
    assert refused.returncode == 2
    assert "metric.name: got 'train/loss'" in refused.stderr
    assert "care sweep run sweep.yaml --restart-search" in refused.stderr
    restarted = care(*RUN, "--restart-search", cwd=tmp_path)
    assert "4 finished" in restarted.stdout
    assert len(list(trials.iterdir())) == 4, "the finished trials are those of the new search, too"


def test_asha_stops_the_worse_and_an_interrupted_sweep_keeps_its_decisions(tmp_path: Path) -> None:
    """The metric is the accuracy of kNN, which is there after the second epoch only."""
    declare(
        tmp_path,
        axes={WEIGHT: [1.0, 0.3, 0.03, 0.01]},
        seeds=1,
        scheduler={"name": "asha", "grace_epochs": 2, "reduction_factor": 2},
        overrides={"evaluation.monitor": {"every": 2, "measures": ["knn_accuracy"]}},
        metric={"name": "heldout/knn_accuracy", "mode": "max"},
    )
    run = start_care(*RUN, cwd=tmp_path)
    wait_for(lambda: (tmp_path / "runs").exists() and len(events(tmp_path, "rung")) >= 2)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=60)
    before = events(tmp_path, "rung")

    care(*RUN, cwd=tmp_path)
    after = events(tmp_path, "rung")
    assert after[: len(before)] == before
    counts = plan(tmp_path)
    assert counts["finished"] + counts["stopped"] == 4
    assert counts["finished"] >= 1
    stopped = {event["trial_id"] for event in after if event["stopped"]}
    assert len(stopped) == counts["stopped"]
    judged = [(event["trial_id"], event["epoch"]) for event in after]
    assert {epoch for _, epoch in judged} == {2}
    assert len(set(judged)) == len(judged), "an epoch was judged twice"

    care(*RUN, cwd=tmp_path)
    assert events(tmp_path, "rung") == after
