"""The status of a submitted sweep is as complete as that of a sweep on this machine."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from care.trials.state import State
from sweeps.backends.slurm.config import ClusterConfig
from sweeps.backends.slurm.state_files import (
    Best,
    Head,
    HeadState,
    PoolFolder,
    PoolStatus,
    Request,
    Workers,
)
from sweeps.backends.slurm.status import StatusReader
from sweeps.cli.status import status_command
from sweeps.cli.sweep_hold import hold_command
from sweeps.store import Store
from tests.helpers.declaring import WEIGHT, fabricate, load
from tests.helpers.playing import World, play
from tests.sweeps.cli.test_list import start
from tests.sweeps.tune.test_seed_pruner import WILCOXON, numbers

METRICS = [{"name": "head/gamma", "mode": "min"}, {"name": "encoder/knn_accuracy"}]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def submit(store: Store, counts: dict[State, int] | None = None, **changes: Any) -> PoolFolder:
    """Write the files of a submission, and those of a running head if it counts trials."""
    folder = PoolFolder(store, "tiny")
    fields: dict[str, Any] = {
        "cluster": ClusterConfig(),
        "workers": Workers(least=0, most=0),
        "folder": "/home/me",
        "code": "/home/me/runs/code",
        "command": "care sweep submit sweep.yaml --cluster cluster.yaml",
        "slurm": False,
    }
    folder.prepare(Request(**{**fields, **changes}))
    if counts:
        folder.write_head(Head(state=HeadState.RUNNING, generation="g", left=1))
        best = Best(point="λ=0", mean=0.5, n=2)
        folder.write_status(
            PoolStatus(
                at=time.time(),
                counts=counts,
                running=(),
                metric="head/gamma",
                best=best,
                seconds_left=61.0,
            )
        )
    return folder


def shown(store: Store, capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, Any]]:
    """Return what ``care sweep status`` shows of a sweep, and its JSON."""
    capsys.readouterr()
    status_command("tiny", store.root, watch=False, as_json=False)
    text = capsys.readouterr().out
    status_command("tiny", store.root, watch=False, as_json=True)
    return text, json.loads(capsys.readouterr().out)


def part(text: str, first: str, lines: int) -> list[str]:
    """Return the words of some lines, from the one that begins with ``first`` on."""
    rows = [" ".join(line.split()) for line in text.splitlines()]
    number = next(index for index, row in enumerate(rows) if row.startswith(first))
    return rows[number : number + lines]


def test_the_pareto_front(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = [0, 0.1, 0.2, 0.3]
    made = start(store, tmp_path, axes={WEIGHT: weights}, seeds=1, metrics=METRICS)
    for (weight, _), config in made.items():
        measures = {"head/gamma": 0.5 - weight, "encoder/knn_accuracy": 0.9 - weight**2}
        if weight == 0.2:  # worse in both than λ = 0.3
            measures = {"head/gamma": 0.4, "encoder/knn_accuracy": 0.5}
        fabricate(store, config, State.FINISHED, 3, measures=measures)
    local, as_json = shown(store, capsys)
    front = part(local, "Pareto front", 4)
    assert front == [
        "Pareto front 3 of 4 points; head/gamma, encoder/knn_accuracy (means, n = 1):",
        "λ=0.3: 0.2, 0.81",
        "λ=0.1: 0.4, 0.89",
        "λ=0: 0.5, 0.9",
    ]
    first = {"point": "λ=0.3", "means": {"head/gamma": 0.2, "encoder/knn_accuracy": 0.81}}
    assert as_json["front"][0] == first
    for counts in (None, {State.FINISHED: 3, State.RUNNING: 1}):  # without and with a head
        submit(store, counts)
        text, submitted = shown(store, capsys)
        assert part(text, "Pareto front", 4) == front
        assert submitted["front"] == as_json["front"]
    assert part(text, "trials", 1) == ["trials 3 finished 1 running"], "as the head counts"
    assert part(text, "best so far", 1) == ["best so far λ=0: head/gamma 0.5 (mean, n = 2)"]
    assert part(text, "time left", 1) == ["time left 1 min 01 s"]


def test_points_that_get_no_more_seeds(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tests.helpers.playing.numbers", numbers)
    play(World(), load(tmp_path, **WILCOXON), store, monkeypatch)
    local, as_json = shown(store, capsys)
    line = "λ=1: 4 of 8 seeds: worse than λ=0.1, Wilcoxon p = 0.062"
    assert part(local, "λ=1", 1) == as_json["remarks"] == [line]
    for counts in (None, {State.FINISHED: 28, State.STOPPED: 3, State.RUNNING: 1}):
        submit(store, counts)
        text, submitted = shown(store, capsys)
        assert part(text, "λ=1", 1) == submitted["remarks"] == [line]


def test_held_trials(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(store, tmp_path)
    hold_command("tiny", ["λ=0.1"], store.root)
    local, as_json = shown(store, capsys)
    (line,) = as_json["remarks"]
    assert line.startswith("held: λ=0.1 seed=0,1, by ")
    release = "2 held; to release them: care sweep release tiny"
    assert part(local, "held", 1) == [line]
    assert part(local, "2 held", 1) == [release]
    for counts in (None, {State.NEW: 2, State.HELD: 2}):
        submit(store, counts)
        text, submitted = shown(store, capsys)
        assert submitted["counts"] == {"new": 2, "held": 2}
        assert part(text, "held", 1) == submitted["remarks"] == [line]
        assert part(text, "2 held", 1) == [release]
        assert ("to resume: care sweep submit" in text) == (counts is None)


def test_a_part_of_a_sweep_that_no_head_runs(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = start(store, tmp_path, metric=METRICS[0])
    fabricate(store, made[0.1, 1], State.FINISHED, 3, measures={"head/gamma": 0.25})
    fabricate(store, made[0.1, 0], State.FAILED, 1)
    submit(store, only=("λ=0.1",))
    text, as_json = shown(store, capsys)
    assert as_json["counts"] == {"finished": 1, "failed": 1}
    assert as_json["best"] == {"point": "λ=0.1", "mean": 0.25, "n": 1}
    assert "λ=0.1: head/gamma 0.25 (mean, n = 1)" in text
    command = "care sweep submit sweep.yaml --cluster cluster.yaml --retry-failed"
    assert f"1 failed; to train them: {command}" in " ".join(text.split())
    assert "to resume" not in text
    submit(store)
    assert shown(store, capsys)[1]["counts"] == {"finished": 1, "failed": 1, "new": 2}


def opened_in(store: Store, read: Any) -> int:
    """Number of files of trials that a call opens."""
    opened, counting = 0, True

    def count(event: str, arguments: Any) -> None:
        nonlocal opened
        if counting and event == "open":
            opened += str(store.trials) in str(arguments[0])

    sys.addaudithook(count)
    read()
    counting = False
    return opened


def test_little_is_read_while_a_head_runs(store: Store, tmp_path: Path) -> None:
    """With one metric no trial is read; with several, a finished trial's numbers are read once."""
    for metrics in ({"metric": METRICS[0]}, {"metrics": METRICS}):
        made = start(store, tmp_path, axes={WEIGHT: [0, 0.1, 0.2, 0.3]}, seeds=2, **metrics)
        finished = list(made.values())[:5]
        measures = {"head/gamma": 0.5, "encoder/knn_accuracy": 0.9}
        for config in finished:
            fabricate(store, config, State.FINISHED, 3, measures=measures)
        reader = StatusReader(submit(store, {State.FINISHED: 5, State.NEW: 3}))
        first, second = opened_in(store, reader.read), opened_in(store, reader.read)
        if "metric" in metrics:
            assert (first, second) == (0, 0)
        else:
            assert second == len(finished), "the states alone"
            assert first > second


def test_a_trial_that_has_no_folder_is_not_looked_for(store: Store, tmp_path: Path) -> None:
    start(store, tmp_path)
    reader = StatusReader(submit(store))
    assert opened_in(store, reader.read) == 0
    assert reader.read().counts == {State.NEW: 4}
