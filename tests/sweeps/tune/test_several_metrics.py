"""A sweep with two metrics: its front in report, terminal and MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from care.trials.staleness import Versions
from sweeps.cli.status import LocalStatus, local_view
from sweeps.inventory import SweepReader
from sweeps.plan import make_plan
from sweeps.report import read_answer, write_sweep_report
from sweeps.spec.sweep import Sweep, load_sweep
from sweeps.store import Store
from sweeps.tracking.sweep_sync import sync_store
from sweeps.tracking.sweep_views import front_tag
from tests.helpers.declaring import WEIGHT, load
from tests.helpers.paths import ROOT
from tests.helpers.playing import METRICS, World, play
from tests.helpers.tracked import copy_database, open_mlflow

TWO = [{"name": name, "mode": "min"} for name in METRICS]
SEARCH = {"name": "optuna", "trials": 6, "sampler": "nsga2", "population": 3}
AXES: dict[str, Any] = {WEIGHT: {"low": 0.01, "high": 1.0, "log": True}}


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Sweep, Store]:
    sweep = load(tmp_path, axes=AXES, metrics=TWO, search=SEARCH)
    store = Store(tmp_path / "runs")
    assert play(World(), sweep, store, monkeypatch).complete
    return sweep, store


def points_on_front(store: Store) -> set[float]:
    table = pd.read_csv(store.sweep("tiny").report / "tables" / "front.csv")
    assert len(table) == 6
    return set(table[table["front"]][WEIGHT])


def test_report_terminal_and_mlflow_agree(
    played: tuple[Sweep, Store], empty_database: Path
) -> None:
    sweep, store = played
    page = write_sweep_report(sweep, store)
    front = points_on_front(store)
    assert 0 < len(front) < 6
    text = page.read_text(encoding="utf-8")
    assert '<h2 id="front">Pareto front</h2>' in text
    assert "A point is on the front if no other one has a better mean" in text
    assert (page.parent / "figures" / "front.png").exists()
    (sentence,) = (line for line in read_answer(page) if line.startswith("Pareto front by "))
    assert f"{len(front)} of 6 points: " in sentence

    console = Console(record=True, width=200)
    reader = SweepReader(store.sweep("tiny"), store, Versions())
    console.print(local_view(LocalStatus(reader.read(), "care sweep run sweep.yaml")))
    shown = console.export_text()
    assert (
        f"Pareto front  {len(front)} of 6 points; {METRICS[0]}, {METRICS[1]} (means, n = 2)"
        in shown
    )

    copy_database(empty_database, store.root)
    sync_store(store, None)
    client, experiment = open_mlflow(store.root)
    runs = client.search_runs([experiment])
    tagged = {run.data.params[WEIGHT] for run in runs if front_tag("tiny") in run.data.tags}
    assert {float(value) for value in tagged} == front
    (of_sweep,) = (run for run in runs if run.data.tags.get("care.kind") == "sweep")
    assert sentence in of_sweep.data.tags["mlflow.note.content"]


def test_more_points_move_the_front_and_its_tags(
    played: tuple[Sweep, Store],
    empty_database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, store = played
    copy_database(empty_database, store.root)
    sync_store(store, None)
    more = load(tmp_path, axes=AXES, metrics=TWO, search={**SEARCH, "trials": 12})
    assert play(World(), more, store, monkeypatch).complete
    write_sweep_report(more, store)
    sync_store(store, None)
    table = pd.read_csv(store.sweep("tiny").report / "tables" / "front.csv")
    client, experiment = open_mlflow(store.root)
    tagged = {
        float(run.data.params[WEIGHT])
        for run in client.search_runs([experiment])
        if front_tag("tiny") in run.data.tags
    }
    assert tagged == set(table[table["front"]][WEIGHT])


def test_the_example_is_valid(tmp_path: Path) -> None:
    sweep = load_sweep(ROOT / "sweeps" / "digits-front.yaml")
    plan = make_plan(sweep, Store(tmp_path / "runs"))
    assert plan.wanted == 90
    assert [metric.mode for metric in sweep.spec.objectives] == ["max", "min"]
