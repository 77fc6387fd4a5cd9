"""A search that starts from earlier trials of the store: which, and that they stay those."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sweeps.cli.sweep_arguments import SweepArguments
from sweeps.cli.sweep_plan import plan_command
from sweeps.event_log import read_decisions
from sweeps.plan import make_plan
from sweeps.report import sweep_summary
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from tests.helpers.declaring import SPLITS, WEIGHT, load
from tests.helpers.playing import METRICS, World, decided, play

METRIC = {"name": METRICS[0], "mode": "min"}
AXES: dict[str, Any] = {WEIGHT: {"low": 0.01, "high": 1.0, "log": True}, SPLITS: [4, 8]}
GRID: dict[str, Any] = {WEIGHT: [0.001, 0.02, 0.1, 0.5], SPLITS: [4, 16]}
INSIDE = [0.02, 0.1, 0.5]  # with 4 splits


def searching(folder: Path, sampler: str = "tpe", warm: bool = True, **changes: Any) -> Sweep:
    search = {"name": "optuna", "trials": 4, "sampler": sampler}
    search |= {"warm_start": True} if warm else {}
    return load(folder, **{"axes": AXES, "metric": METRIC, "search": search, **changes})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with a grid, of which three points lie in the space."""
    store = Store(tmp_path / "runs")
    assert play(World(), load(tmp_path, name="grid", axes=GRID), store, monkeypatch).complete
    return store


def warm_points(store: Store) -> list[float]:
    points = read_decisions(store.sweep("tiny")).warm_start
    assert points is not None
    assert {point[SPLITS] for point in points} <= {4}
    return sorted(point[WEIGHT] for point in points)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsga2"])
def test_the_sampler_is_told_the_points_in_the_space(
    sampler: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = searching(tmp_path, sampler)
    assert play(World(), sweep, store, monkeypatch).complete
    assert warm_points(store) == INSIDE
    study, _ = decided(sweep, store)
    assert [state for _, state, _ in study] == ["COMPLETE"] * 7
    assert sorted(params[WEIGHT] for params, _, _ in study[:3]) == INSIDE
    kinds = [event["event"] for event in store.sweep("tiny").events()]
    assert kinds == ["question", "warm_start"] + ["suggest"] * 4


def test_a_trial_that_enters_later_changes_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = searching(tmp_path)
    play(World(), sweep, store, monkeypatch)
    before, events = decided(sweep, store), store.sweep("tiny").events()
    more = load(tmp_path, name="grid", axes={**GRID, WEIGHT: [0.03, 0.04]})
    play(World(), more, store, monkeypatch)
    assert decided(sweep, store) == before
    play(World(), sweep, store, monkeypatch)
    assert store.sweep("tiny").events() == events
    restarted = searching(tmp_path, search={**sweep.spec.search.model_dump(), "seed": 1})
    assert make_plan(restarted, store).differences


def test_a_deleted_trial_has_no_value(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = searching(tmp_path)
    play(World(), sweep, store, monkeypatch)
    point = next(
        point
        for point in read_decisions(store.sweep("tiny")).warm_start or ()
        if point[WEIGHT] == 0.1
    )
    shutil.rmtree(store.trial(make_id(sweep, point)).path)
    study, _ = decided(sweep, store)
    assert sorted(state for _, state, _ in study[:3]) == ["COMPLETE", "COMPLETE", "FAIL"]


def make_id(sweep: Sweep, point: dict[str, Any]) -> str:
    from care.trials.identity import trial_id

    return trial_id(sweep.trial(point, 0))


def test_seeds_that_are_missing_leave_a_point_out(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(World(), searching(tmp_path, seeds=3), store, monkeypatch)
    assert warm_points(store) == []


def test_plan_and_report_say_so(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweep = searching(tmp_path)
    arguments = SweepArguments(Path(sweep.source))
    plan_command(arguments, store.root, as_json=False)
    planned = "warm start: 3 earlier points of the store will be given to the sampler\n"
    assert planned in capsys.readouterr().out
    play(World(), sweep, store, monkeypatch)
    plan_command(arguments, store.root, as_json=False)
    assert "warm start: 3 earlier points of the store were given" in capsys.readouterr().out
    said = "Warm start: 3 earlier points of the store were given to the sampler."
    assert sweep_summary(sweep, store).notes[0] == said  # its hours follow
    assert sweep_summary(load(tmp_path, name="grid", axes=GRID), store).notes == ()
    cold = searching(tmp_path, warm=False)
    fields = [one.field for one in make_plan(cold, store).differences]
    assert fields == ["search.warm_start"]
