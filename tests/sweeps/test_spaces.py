"""Conditional and zipped axes and designs in the plan, the report and MLflow's parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.labels import value_label
from care.errors import Problem
from care.trials.records import SweepRecord
from care.trials.state import State
from sweeps.plan import make_plan
from sweeps.report import write_sweep_report
from sweeps.spec.sweep import Sweep, restore_sweep
from sweeps.store import Store
from sweeps.tracking.run_record import _params
from tests.helpers.declaring import SPLITS, WEIGHT, fabricate, load
from tests.sweeps.spec.test_space import MOMENTUM, TWO_OBJECTIVES

GAMMA = "head/gamma"


def finish(sweep: Sweep, store: Store) -> None:
    """Finish every trial; the measure depends on the point and, a little, on the seed."""
    for index, trial in enumerate(make_plan(sweep, store).trials):
        config = trial.config
        value = config.objective.equivariance.weight + config.objective.equivariance.splits / 100
        fabricate(
            store,
            config,
            State.FINISHED,
            config.training.epochs,
            measures={GAMMA: value + 0.001 * (config.seed + index % 3)},
        )
    assert make_plan(sweep, store).complete


def report(sweep: Sweep, store: Store) -> tuple[str, pd.DataFrame]:
    """Write the report; return the page's text and the table of differences."""
    page = write_sweep_report(sweep, store)
    table = pd.read_csv(page.parent / "tables" / "differences.csv")
    return page.read_text(encoding="utf-8"), table


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def declared(folder: Path, **changes: Any) -> Sweep:
    return load(folder, **{"metric": {"name": GAMMA, "mode": "min"}, "seeds": 3, **changes})


def test_a_conditional_axis_is_unused_in_every_table(tmp_path: Path, store: Store) -> None:
    sweep = declared(tmp_path, axes={**TWO_OBJECTIVES, WEIGHT: [0.1, 0.2]})
    finish(sweep, store)
    page, differences = report(sweep, store)
    assert "unused" in page
    assert set(differences[MOMENTUM].astype(str)) == {"unused", "0.9", "0.99"}
    changed = differences[differences[WEIGHT] == 0.2]
    assert len(changed) == 9, "λ is compared at each setting, seed by seed"
    trial = make_plan(sweep, store).trials[0]
    params = _params(trial.config.model_dump(mode="json"), trial.point)
    assert params["momentum"] == "unused"
    assert json.loads(json.dumps(trial.point))[MOMENTUM] == "unused"


def test_a_sweep_over_objectives_is_restored(tmp_path: Path, store: Store) -> None:
    """Their defaults differ; SimCLR's temperature is one of them, and is also set by the base."""
    axes = {**TWO_OBJECTIVES, WEIGHT: [0.1, 0.2]}
    default = declared(tmp_path, axes={}).base_config().objective.model_dump()["temperature"]
    sweep = declared(tmp_path, axes=axes, overrides={"objective.temperature": default})
    base = json.loads(json.dumps(sweep.stored_base()))
    record = SweepRecord(spec=sweep.spec.model_dump(mode="json"), base=base, file="sweep.yaml")
    restored = make_plan(restore_sweep(record), store)
    assert list(restored.unique()) == list(make_plan(sweep, store).unique())


def test_zipped_axes_are_compared_along_both(tmp_path: Path, store: Store) -> None:
    axes = {WEIGHT: [0.1, 0.2], SPLITS: [4, 8], "training.epochs": [2, 3]}
    sweep = declared(tmp_path, axes=axes, zip=[WEIGHT, SPLITS])
    finish(sweep, store)
    _, differences = report(sweep, store)
    changed = differences[differences[WEIGHT] == 0.2]
    assert len(changed) == 6
    assert changed["difference"].between(0.13, 0.15).all()


def test_a_design_is_reported(tmp_path: Path, store: Store) -> None:
    axes = {WEIGHT: {"low": 0.01, "high": 1, "log": True}, SPLITS: [4, 8]}
    sweep = declared(tmp_path, axes=axes, search={"name": "sobol", "trials": 6}, seeds=2)
    finish(sweep, store)
    page, _ = report(sweep, store)
    assert all(value_label(point[WEIGHT]) in page for point in sweep.points())


def test_adaptive_seeds_of_sparse_points(tmp_path: Path, store: Store) -> None:
    """Each point is compared with the first of its line, as in the report."""
    seeds = {"least": 3, "most": 10}
    axes = {WEIGHT: [0.1, 0.2, 0.3], SPLITS: {"values": [4, 8], "when": {WEIGHT: [0.2, 0.3]}}}
    plan = make_plan(declared(tmp_path, axes=axes, seeds=seeds), store)
    assert plan.seeds
    names = [tuple(point.values()) for point in plan.seeds.points]
    compared = {
        names[index]: names[baseline]
        for index, baseline in enumerate(plan.seeds.baselines)
        if baseline is not None
    }
    assert compared == {(0.3, 4): (0.2, 4), (0.3, 8): (0.2, 8)}
    zipped = declared(
        tmp_path, axes={WEIGHT: [0.1, 0.2], SPLITS: [4, 8]}, zip=[WEIGHT, SPLITS], seeds=seeds
    )
    plan = make_plan(zipped, store)
    assert plan.seeds
    assert plan.seeds.baselines == (None, 0)


def test_adaptive_seeds_need_points_that_compare(
    tmp_path: Path, store: Store, refused: Any
) -> None:
    axes = {WEIGHT: {"low": 0.1, "high": 1}, "optimizer.learning_rate": {"low": 0.1, "high": 1}}
    sweep = declared(
        tmp_path, axes=axes, search={"name": "random", "trials": 9}, seeds={"least": 3, "most": 9}
    )
    problem: Problem = refused(make_plan, sweep, store)
    assert problem.field == "seeds.until"
    assert "points differ in one axis alone" in problem.allowed
