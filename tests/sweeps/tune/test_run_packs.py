"""Packs on a real Ray: the numbers of trials alone, and each trial's fate its own."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from care.trials.state import State
from sweeps.plan import trial_configs
from sweeps.store import Store
from tests.helpers.comparing import assert_equal_to_the_bit
from tests.helpers.declaring import WEIGHT, declare, load
from tests.helpers.processes import care, lines_in, start_care, wait_for
from tests.helpers.small_store import train

RUN = ("sweep", "run", "sweep.yaml", "--no-report")
AXES = {WEIGHT: [0.01, 0.1, 1.0]}
PACKED = {"axes": AXES, "seeds": 2, "resources": {"threads": 1, "pack": 3}}


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each trial trained alone, in this process."""
    folder = tmp_path_factory.mktemp("one-by-one")
    store = Store(folder / "runs")
    store.prepare()
    for config in trial_configs(load(folder, axes=AXES, seeds=2), store).values():
        train(store, config)
    return folder


def trials(folder: Path) -> list[Path]:
    return sorted((folder / "runs" / "trials").glob("*/"))


def assert_as_one_by_one(folder: Path, expected: Path) -> None:
    assert [trial.name for trial in trials(folder)] == [trial.name for trial in trials(expected)]
    for trial in trials(folder):
        assert_equal_to_the_bit(trial, expected / "runs" / "trials" / trial.name)


def begun_in(trial: Path) -> int:
    """The process that first trained a trial."""
    pid: int = json.loads((trial / "starts.jsonl").read_text().splitlines()[0])["pid"]
    return pid


def test_the_numbers_of_trials_alone(one_by_one: Path, tmp_path: Path) -> None:
    declare(tmp_path, **PACKED)
    done = care(*RUN, cwd=tmp_path)
    assert "6 finished" in done.stdout
    assert_as_one_by_one(tmp_path, one_by_one)
    by_seed: dict[int, set[int]] = {}
    for trial in trials(tmp_path):
        seed = json.loads((trial / "trial.json").read_text())["config"]["seed"]
        by_seed.setdefault(seed, set()).add(begun_in(trial))
    assert [len(processes) for processes in by_seed.values()] == [1, 1]


def test_how_many_is_found_out_by_itself(one_by_one: Path, tmp_path: Path) -> None:
    declare(tmp_path, axes=AXES, seeds=2, resources={"threads": 1})
    care(*RUN, cwd=tmp_path)
    assert_as_one_by_one(tmp_path, one_by_one)
    starts = [len((trial / "starts.jsonl").read_text().splitlines()) for trial in trials(tmp_path)]
    assert starts == [1] * 6, "a trial was begun that its pack had no place for"


@pytest.mark.parametrize("accident", ["worker", "driver", "interrupt"])
def test_after_an_accident_the_same(one_by_one: Path, tmp_path: Path, accident: str) -> None:
    declare(tmp_path, **PACKED)
    run = start_care(*RUN, cwd=tmp_path)
    logs = tmp_path / "runs" / "trials"
    wait_for(lambda: sum(map(lines_in, logs.glob("*/metrics.jsonl"))) >= 3)
    if accident == "worker":
        os.kill(begun_in(trials(tmp_path)[0]), signal.SIGKILL)
    else:
        os.kill(run.pid, signal.SIGKILL if accident == "driver" else signal.SIGINT)
    output = run.communicate(timeout=150)[0]
    if accident != "worker":
        care(*RUN, cwd=tmp_path)
    else:
        assert run.returncode == 0, output
    assert_as_one_by_one(tmp_path, one_by_one)


def test_one_that_fails_leaves_the_others(one_by_one: Path, tmp_path: Path) -> None:
    declare(tmp_path, **{**PACKED, "axes": {WEIGHT: [0.01, 1e300, 1.0]}, "seeds": 1})
    done = care(*RUN, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "2 finished, 1 failed" in done.stdout, done.stdout
    finished = [
        trial
        for trial in trials(tmp_path)
        if json.loads((trial / "status.json").read_text())["state"] == "finished"
    ]
    for trial in finished:
        assert_equal_to_the_bit(trial, one_by_one / "runs" / "trials" / trial.name)


def test_one_that_does_not_fit_beside_the_others_is_tried_alone(tmp_path: Path) -> None:
    axes = {"model.head.hidden": [10**10, 32, 48, 64]}
    declare(tmp_path, axes=axes, seeds=1, resources={"threads": 1, "pack": 2})
    done = care(*RUN, cwd=tmp_path, check=False)
    assert "the memory is full; it is trained alone" in done.stdout
    assert "3 finished, 1 failed" in done.stdout, done.stdout
    states = [json.loads((trial / "status.json").read_text()) for trial in trials(tmp_path)]
    (failed,) = [state for state in states if state["state"] == "failed"]
    assert failed["error"]["kind"] == "out_of_memory"


def events(folder: Path) -> list[dict[str, Any]]:
    log = Store(folder / "runs").sweep("tiny").events()
    return [event for event in log if event["event"] == "rung"]


def test_asha_stops_members_of_a_pack(tmp_path: Path) -> None:
    declare(
        tmp_path,
        axes={WEIGHT: [1.0, 0.3, 0.03, 0.01]},
        seeds=1,
        resources={"threads": 1, "pack": 2},
        scheduler={"name": "asha", "grace_epochs": 1, "reduction_factor": 2},
        metric={"name": "heldout/gamma", "mode": "min"},
    )
    care(*RUN, cwd=tmp_path)
    judged = events(tmp_path)
    stopped = {event["trial_id"]: event["epoch"] for event in judged if event["stopped"]}
    assert stopped
    counts = json.loads(care("sweep", "plan", "sweep.yaml", "--json", cwd=tmp_path).stdout)
    assert (counts["stopped"], counts["finished"]) == (len(stopped), 4 - len(stopped))
    for identity, epoch in stopped.items():
        folder = Store(tmp_path / "runs").trial(identity)
        assert len(folder.read_metrics()) == epoch, "it trained on after it was stopped"
        status = folder.read_status()
        assert status
        assert status.state == State.PAUSED
    care(*RUN, cwd=tmp_path)
    assert events(tmp_path) == judged


def test_optuna_suggests_one_at_a_time(tmp_path: Path) -> None:
    declare(
        tmp_path,
        axes={WEIGHT: {"low": 0.1, "high": 1.0}},
        search={"name": "optuna"},
        resources={"pack": 2},
    )
    refused = care(*RUN, cwd=tmp_path, check=False)
    assert refused.returncode == 2
    assert "resources.pack: got 2; allowed: 1 with optuna" in refused.stderr + refused.stdout
    assert not (tmp_path / "runs").exists()
