"""``care sweep study``: Optuna reads from the file what the store has."""

from __future__ import annotations

import sqlite3
import statistics
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from care.config.metrics import COLLAPSE_METRIC
from care.errors import CareError, ConfigError
from care.trials.identity import trial_id
from care.trials.state import State
from sweeps.event_log import WarmStartLine
from sweeps.report import find_sweep
from sweeps.store import Store
from sweeps.tune.study_file import write_study
from tests.helpers.declaring import SPLITS, WEIGHT, fabricate
from tests.helpers.processes import care
from tests.helpers.searched import Result, search_store
from tests.helpers.small_store import declared

TAU, LOSS = "objective.temperature", "heldout/gamma"
PROBE, GAMMA = "encoder/probe_accuracy", "head/gamma"
SPACE = {
    WEIGHT: {"low": 1e-3, "high": 1.0, "log": True},
    SPLITS: {"values": [4, 8], "when": {TAU: [0.1, 0.2]}},
    TAU: [0.1, 0.2, 0.5],
}
POINTS: list[dict[str, Any]] = [
    {WEIGHT: 0.01, SPLITS: 8, TAU: 0.1},
    {WEIGHT: 0.1, SPLITS: "unused", TAU: 0.5},
    {WEIGHT: 0.3, SPLITS: 4, TAU: 0.2},
    {WEIGHT: 0.5, SPLITS: 4, TAU: 0.2},
]
STATES = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING]


def result(number: int, point: dict[str, Any], seed: int) -> Result:
    if number == 0:
        return {LOSS: 0.5 + seed / 10}
    if number == 1:
        return (1, 0.9 + seed / 10)
    return State.FAILED if number == 2 else State.NEW


@pytest.fixture
def store(tmp_path: Path) -> Store:
    search = {"name": "optuna", "trials": 4}
    metric = {"name": LOSS, "mode": "min"}
    scheduler = {"name": "asha"}
    _, store = search_store(
        tmp_path, POINTS, result, axes=SPACE, search=search, metric=metric, scheduler=scheduler
    )
    return store


def written(store: Store, path: Path) -> optuna.Study:
    write_study(find_sweep("tiny", None, store), store, path)
    return optuna.load_study(study_name=None, storage=f"sqlite:///{path}")


def content(path: Path) -> list[str]:
    with sqlite3.connect(path) as connection:
        return list(connection.iterdump())


def test_the_study_has_the_points_values_and_states_of_the_search(
    store: Store, tmp_path: Path
) -> None:
    study = written(store, tmp_path / "a.db")
    assert study.study_name == "tiny"
    assert study.directions == [StudyDirection.MINIMIZE]
    assert study.metric_names == [LOSS]
    first, stopped, failed, waiting = study.trials
    assert [trial.state for trial in study.trials] == STATES
    assert first.params == POINTS[0]
    assert first.distributions == {
        WEIGHT: FloatDistribution(1e-3, 1.0, log=True),
        SPLITS: CategoricalDistribution((4, 8)),
        TAU: CategoricalDistribution((0.1, 0.2, 0.5)),
    }
    assert stopped.params == {WEIGHT: 0.1, TAU: 0.5}
    assert first.value == pytest.approx(0.55)
    assert stopped.value == pytest.approx(0.95)
    assert (failed.values, waiting.values) == (None, None)
    sweep = find_sweep("tiny", None, store)
    epochs = sweep.base_config().training.epochs
    assert first.intermediate_values == pytest.approx(dict.fromkeys(range(1, epochs + 1), 0.55))
    assert stopped.intermediate_values == pytest.approx({1: 0.95})
    seeds = sweep.spec.all_seeds
    identities = {str(seed): trial_id(sweep.trial(POINTS[0], seed)) for seed in seeds}
    assert first.user_attrs == {
        "point": "λ=0.01 splits=8 τ=0.1",
        "trials": identities,
        "states": {"0": "finished", "1": "finished"},
        LOSS: {"0": 0.5, "1": 0.6},
    }
    assert study.best_trial.number == 0


def test_two_metrics_of_a_grid(tmp_path: Path) -> None:
    metrics = [{"name": PROBE, "mode": "max"}, {"name": GAMMA, "mode": "min"}]
    store = Store(tmp_path / "runs")
    sweep = declared(tmp_path, store, axes={WEIGHT: [0.1, 0.3], SPLITS: [4, 8]}, metrics=metrics)
    for place, point in enumerate(sweep.points()):
        for config in sweep.trials(point):
            measures = {PROBE: place / 10 + config.seed / 100, GAMMA: 1.0 - place / 10}
            fabricate(store, config, State.FINISHED, config.training.epochs, measures=measures)
    study = written(store, tmp_path / "a.db")
    assert study.directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    assert [trial.params for trial in study.trials] == list(sweep.points())
    seeds = statistics.fmean(sweep.spec.all_seeds) / 100
    for place, trial in enumerate(study.trials):
        assert trial.values == pytest.approx([place / 10 + seeds, 1.0 - place / 10])
    assert [trial.number for trial in study.best_trials] == [3]
    importances = optuna.importance.get_param_importances(study)
    assert set(importances) == {WEIGHT, SPLITS}


def test_a_range_with_steps_has_its_values(tmp_path: Path) -> None:
    axes = {
        TAU: {"low": 0.1, "high": 0.5, "step": 0.1},
        SPLITS: {"low": 4, "high": 8, "step": 2},
    }
    points = [{TAU: tau, SPLITS: splits} for tau in (0.1, 0.3, 0.5) for splits in (4, 8)]
    _, store = search_store(
        tmp_path,
        points,
        lambda number, point, seed: {LOSS: 0.5},
        axes=axes,
        search={"name": "optuna", "trials": 6},
        metric={"name": LOSS, "mode": "min"},
    )
    study = written(store, tmp_path / "a.db")
    assert [trial.params for trial in study.trials] == points
    assert study.trials[0].distributions == {
        TAU: FloatDistribution(0.1, 0.5, step=0.1),
        SPLITS: IntDistribution(4, 8, step=2),
    }


def test_points_of_a_warm_start_come_first(store: Store, tmp_path: Path) -> None:
    log = store.sweep("tiny")
    log.log(WarmStartLine((POINTS[0], {**POINTS[3], TAU: 0.1})).record())
    first, second, *others = written(store, tmp_path / "a.db").trials
    assert (first.state, first.params) == (TrialState.COMPLETE, POINTS[0])
    assert first.value == pytest.approx(0.55)
    assert (second.state, second.values) == (TrialState.FAIL, None)
    assert first.user_attrs == second.user_attrs == {"warm start": True}
    assert [trial.state for trial in others] == STATES


def test_a_nearly_collapsed_seed_is_named(tmp_path: Path) -> None:
    def value(number: int, point: dict[str, Any], seed: int) -> Result:
        return {LOSS: 0.5, COLLAPSE_METRIC: 0.97 if seed == number else 0.1}

    search, metric = {"name": "optuna", "trials": 3}, {"name": LOSS, "mode": "min"}
    _, store = search_store(tmp_path, POINTS[:3], value, axes=SPACE, search=search, metric=metric)
    trials = written(store, tmp_path / "a.db").trials
    found = [trial.user_attrs.get("nearly collapsed") for trial in trials]
    assert found == [["0"], ["1"], None]


def test_twice_gives_the_same_content_and_follows_the_store(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    written(store, path)
    before = content(path)
    written(store, path)
    assert content(path) == before
    sweep = find_sweep("tiny", None, store)
    for config in sweep.trials(POINTS[3]):
        epochs, values = config.training.epochs, {LOSS: 0.2}
        fabricate(store, config, State.FINISHED, epochs, measures=values, metrics=values)
    assert written(store, path).trials[3].value == pytest.approx(0.2)
    assert [file.name for file in tmp_path.glob(".a.db*")] == []


@pytest.mark.parametrize("kind", ["text", "database", "other sweep", "folder"])
def test_other_files_are_kept(store: Store, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "kept.db"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("a thesis\n")
    elif kind == "database":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE thesis (chapter TEXT)")
    else:
        written(store, path)
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE study_user_attributes SET value_json = '\"other\"'")
    before = path.read_bytes() if path.is_file() else None
    sweep = find_sweep("tiny", None, store)
    with pytest.raises(CareError, match=r"kept\.db"):
        write_study(sweep, store, path)
    assert (path.read_bytes() if path.is_file() else None) == before
    if kind != "folder":
        write_study(sweep, store, path, overwrite=True)
        assert len(optuna.load_study(study_name=None, storage=f"sqlite:///{path}").trials) == 4


def test_the_command_prints_how_to_open_it(store: Store, tmp_path: Path) -> None:
    done = care("sweep", "study", "tiny", "--store", store.root, cwd=tmp_path)
    assert "study tiny: 1 complete, 1 pruned, 1 fail, 1 waiting" in done.stdout
    assert "optuna-dashboard sqlite:///tiny-study.db" in done.stdout
    address = f"sqlite:///{tmp_path / 'tiny-study.db'}"
    assert len(optuna.load_study(study_name="tiny", storage=address).trials) == 4


def test_an_unknown_sweep_names_the_nearest(store: Store) -> None:
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        find_sweep("tinny", None, store)
