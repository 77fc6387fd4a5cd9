"""Killed at random, a search ends as one that nobody disturbed: decisions, trials, report.

On a real Ray, one trial at a time, so that the order of the ends is fixed. The suite runs the
search for a front alone; ``--every-search`` each sampler and each way of stopping, and
``--kills 30`` kills each so often.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from care.system.claim import holder
from sweeps.report import read_answer
from sweeps.store import Store
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.declaring import WEIGHT, declare
from tests.helpers.processes import care, lines_in, start_care, wait_for

# Fewer steps would leave the trials nearly collapsed, and the front empty.
ONE_EPOCH = {"training.epochs": 1, "data.train_images": 1437}
LOSS = {"name": "train/loss", "mode": "min"}
RANGE: dict[str, Any] = {WEIGHT: {"low": 0.01, "high": 1.0, "log": True}}
TWO_RANGES = {**RANGE, "optimizer.learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
GRID = {WEIGHT: [0.1, 1.0, 0.01, 0.5, 0.05, 0.2]}
RUN = ("sweep", "run", "sweep.yaml")


def _search(sampler: str, **settings: Any) -> dict[str, Any]:
    search = {"name": "optuna", "sampler": sampler, "trials": 7, **settings}
    return {"axes": TWO_RANGES, "metric": LOSS, "search": search, "overrides": ONE_EPOCH}


def _stopped(name: str, **settings: Any) -> dict[str, Any]:
    scheduler = {"name": name, **settings}
    overrides = {"training.epochs": 4}
    return {"axes": GRID, "metric": LOSS, "scheduler": scheduler, "overrides": overrides}


FRONT = {
    "axes": RANGE,
    "metrics": [{"name": "encoder/knn_accuracy"}, {"name": "head/gamma", "mode": "min"}],
    "search": {"name": "optuna", "trials": 7, "sampler": "nsga2", "population": 3},
    "overrides": ONE_EPOCH,
    "seeds": 2,
}
OTHERS = {
    "tpe": _search("tpe", startup=2),
    "tpe, multivariate": _search("tpe", startup=2, multivariate=True),
    "gp": _search("gp", startup=3),
    "cmaes": _search("cmaes", population=3),
    "qmc": _search("qmc"),
    "nsga2": _search("nsga2", population=3),
    "asha": _stopped("asha", reduction_factor=2),
    "hyperband": _stopped("hyperband", reduction_factor=2),
    "median": _stopped("median", least_trials=2),
    "wilcoxon": {
        **_stopped("wilcoxon", p=0.3, least_seeds=2),
        "axes": {WEIGHT: [0.1, 1.0, 0.01]},
        "overrides": ONE_EPOCH,
        "seeds": 4,
    },
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Add the other searches if they are asked for."""
    others = OTHERS if metafunc.config.getoption("--every-search") else {}
    searches = {"front": FRONT, **others}
    metafunc.parametrize("declared", searches.values(), ids=searches.keys())


@pytest.mark.timeout(3600)  # as many starts of Ray as kills
def test_killed_at_random_it_ends_the_same(
    declared: dict[str, Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # all cores are one trial's, and others' too
    kills = int(request.config.getoption("--kills"))
    if "search" in declared and kills > 6:  # else all trials end before the last kill
        search = {**declared["search"], "trials": 5 + kills // 3}
        declared = {**declared, "search": search}
    folders = [tmp_path / "undisturbed", tmp_path / "disturbed"]
    for folder in folders:
        folder.mkdir()
        resources = {"threads": len(os.sched_getaffinity(0))}
        declare(folder, **{"seeds": 1, **declared}, resources=resources)
    undisturbed, disturbed = folders
    care(*RUN, cwd=undisturbed)
    kill_at_random(disturbed, kills)
    care(*RUN, cwd=disturbed)
    stores = [Store(folder / "runs") for folder in folders]
    decisions = [decisions_of(store) for store in stores]
    assert decisions[0] == decisions[1]
    assert decisions[0], "the search or scheduler decided something"
    assert kills <= 6 or starts(disturbed) > starts(undisturbed), "some kill ended a trial"
    trials = sorted(path.name for path in stores[0].trials.iterdir())
    assert trials == sorted(path.name for path in stores[1].trials.iterdir())
    for name in trials:
        first, second = (store.trial(name) for store in stores)
        states = [folder.read_status() for folder in (first, second)]
        assert states[0]
        assert states[1]
        assert states[0].finished == states[1].finished
        assert first.read_metrics() == second.read_metrics()
        if states[0].finished:
            assert_equal_to_the_bit(second.path, first.path)
    answers = [read_answer(store.sweep("tiny").report / "report.html") for store in stores]
    assert answers[0] == answers[1]
    fronts = [store.sweep("tiny").report / "tables" / "front.csv" for store in stores]
    if "metrics" in declared:
        assert {event["generation"] for event in decisions[0]} >= {0, 1, 2}
        assert fronts[0].read_bytes() == fronts[1].read_bytes()


def decisions_of(store: Store) -> list[dict[str, Any]]:
    """The log of the sweep, without the times at which trials were created."""
    events = [event for event in store.sweep("tiny").events() if event["event"] != "question"]
    for event in events:
        event.pop("created", None)
        if "trials" in event:
            event["trials"] = list(event["trials"])
    return events


def kill_at_random(folder: Path, kills: int) -> None:
    """Start the sweep and kill it: in turn with a trial in training, and the driver alone."""
    chance = random.Random(3)
    for number in range(kills):
        before = starts(folder)
        run = start_care(*RUN, cwd=folder)
        if number % 2 == 0:  # all its processes, as with a machine that fails
            wait_for(lambda: starts(folder) > before or run.poll() is not None, 300)  # noqa: B023
            time.sleep(chance.uniform(0, 1.5))
            end = os.killpg
        else:  # perhaps while it starts; its trial ends a little later
            time.sleep(chance.uniform(1, 15))
            end = os.kill
        if run.poll() is None:
            end(run.pid, signal.SIGKILL)
        run.communicate(timeout=60)
        # Else another trial might start before the one that its process still has.
        wait_for(lambda: not any(map(holder, (folder / "runs" / "trials").glob("*"))), 120)


def starts(folder: Path) -> int:
    """How often processes have begun to train a trial."""
    return sum(map(lines_in, (folder / "runs" / "trials").glob("*/starts.jsonl")))
