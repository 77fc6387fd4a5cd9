"""The axes' importance: against closed forms, and what a reader of the report sees of it."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.importance import Draw, Method, make_draws, split_variance
from care.system.rng import generator
from care.trials.state import State
from sweeps.plan import make_plan
from sweeps.report import write_sweep_report
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from sweeps.tune.importance import StudyImportance
from tests.helpers.declaring import SPLITS, WEIGHT, fabricate, load

TAU, RATE = "objective.temperature", "optimizer.learning_rate"
PROBE, GAMMA = "encoder/probe_accuracy", "head/gamma"
FANOVA, PED = Method("fANOVA", 0.1), Method("PED-ANOVA", 0.1)
GRID: dict[str, Any] = {TAU: [0.1, 0.2, 0.3, 0.4], RATE: [0.001, 0.002, 0.003, 0.004]}

Value = Callable[[dict[str, Any], int], dict[str, float]]


def additive(point: dict[str, Any], seed: int) -> dict[str, float]:
    """Variances 4 : 1 for the probe, 1 : 4 for γ_f, over equally spaced levels."""
    first, second = 10 * point[TAU], 1000 * point[RATE]
    noise = seed / 1000
    return {PROBE: 0.2 * first + 0.1 * second + noise, GAMMA: 0.1 * first + 0.2 * second + noise}


def one_draw(values: list[float]) -> list[Draw]:
    return [Draw(np.array(values), np.ones(len(values), dtype=np.int64))]


def shares(sweep: Sweep, method: Method, points: list[dict[str, Any]], values: list[float]) -> Any:
    axes = [(name,) for name in sweep.space.axes]
    (found,) = StudyImportance(sweep.space)(method, points, axes, one_draw(values))
    return {name: found[(name,)] for name in sweep.space.axes}


def grid_of(axes: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(axes, row, strict=True)) for row in itertools.product(*axes.values())]


def test_the_variance_of_a_grid_is_split_exactly() -> None:
    points, axes = grid_of(GRID), [(TAU,), (RATE,)]
    values = np.array([additive(point, 0)[PROBE] for point in points])
    product = np.array([(10 * one[TAU] - 2.5) * (1000 * one[RATE] - 2.5) for one in points])
    found, alone = split_variance(points, axes, [values, product])
    assert found == {(TAU,): pytest.approx(0.8), (RATE,): pytest.approx(0.2)}
    assert max(alone.values()) < 1e-12


def test_fanova_gives_the_shares_of_an_additive_function(tmp_path: Path) -> None:
    axes = {TAU: {"low": 0.1, "high": 0.4}, RATE: {"low": 0.001, "high": 0.004}}
    sweep = load(tmp_path, axes=axes, search={"name": "optuna", "trials": 5})
    units = generator(0, "points").random((150, 2))
    points = [{TAU: 0.1 + 0.3 * u, RATE: 0.001 + 0.003 * v} for u, v in units]
    found = shares(sweep, FANOVA, points, [additive(point, 0)[PROBE] for point in points])
    assert found == {TAU: pytest.approx(0.8, abs=0.05), RATE: pytest.approx(0.2, abs=0.05)}


def test_a_log_axis_counts_on_its_log_scale(tmp_path: Path) -> None:
    """Of the linear scale, a tenth would hold the values below 0.1, and with them the effect."""
    axes = {
        WEIGHT: {"low": 1e-4, "high": 1.0, "log": True},
        TAU: {"low": 0.1, "high": 0.5},
    }
    search = {"name": "optuna", "trials": 5}
    sweep = load(tmp_path, axes=axes, search=search, metric={"name": GAMMA, "mode": "min"})
    rng = generator(0, "points")
    units = rng.random((150, 2))
    points = [{WEIGHT: 10 ** (4 * u - 4), TAU: 0.1 + 0.4 * v} for u, v in units]
    found = shares(sweep, FANOVA, points, [float(u + v) for u, v in units])
    assert found == {WEIGHT: pytest.approx(0.5, abs=0.08), TAU: pytest.approx(0.5, abs=0.08)}


def parzen(levels: list[int], size: int) -> np.ndarray[Any, Any]:
    """The published estimate of a list of values: kernels of weight 1, and a prior of weight 1."""
    number = len(set(levels)) + 1
    density = np.zeros(size)
    for level in levels:
        kernel = np.full(size, 1 / number)
        kernel[level] += 1
        density += kernel / kernel.sum()
    return (density + 1 / size) / (len(levels) + 1)


def test_ped_anova_is_the_pearson_divergence_of_the_best_points(tmp_path: Path) -> None:
    sweep = load(tmp_path, axes=GRID)
    points = grid_of(GRID)
    values = [additive(point, 0)[PROBE] for point in points]
    method = Method("PED-ANOVA", 5 / 16)
    worst = sorted(values)[4]
    best = [point for point, value in zip(points, values, strict=True) if value <= worst]
    expected = {}
    for name, levels in GRID.items():
        top = parzen([levels.index(point[name]) for point in best], 4)
        whole = parzen([levels.index(point[name]) for point in points], 4)
        expected[name] = float(whole @ (top / whole - 1) ** 2)
    total = sum(expected.values())
    found = shares(sweep, method, points, values)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value / total, abs=1e-6)
    assert found[TAU] > found[RATE]


def test_a_point_that_is_drawn_twice_counts_twice(tmp_path: Path) -> None:
    sweep = load(tmp_path, axes=GRID)
    points = grid_of(GRID)
    values = np.array([additive(point, 0)[PROBE] for point in points])
    counts = np.array([0, 2, 1, 1] * 4)
    axes = [(name,) for name in GRID]
    (counted,) = StudyImportance(sweep.space)(PED, points, axes, [Draw(values, counts)])
    chosen = [index for index, count in enumerate(counts) for _ in range(count)]
    repeated = [points[index] for index in chosen]
    (listed,) = StudyImportance(sweep.space)(
        PED, repeated, axes, one_draw([float(values[index]) for index in chosen])
    )
    assert counted == pytest.approx(listed)


def test_resamples_are_of_points_and_of_whole_seeds() -> None:
    values = np.array([[1.0, 2.0], [3.0, math.nan], [5.0, 6.0]])
    whole, *draws = make_draws(values, 30)
    assert whole.values.tolist() == [1.5, 3.0, 5.5]
    assert whole.counts.tolist() == [1, 1, 1]
    assert len(draws) == 30
    assert all(draw.counts.sum() == 3 for draw in draws)
    fixed = make_draws(values, 30, fixed_points=True)[1:]
    assert all(draw.counts.tolist() == [1, 1, 1] for draw in fixed)
    assert len(make_draws(values[:, :1], 30, fixed_points=True)) == 1
    means = {tuple(draw.values.tolist()[::2]) for draw in draws}
    assert means == {(1.0, 5.0), (1.5, 5.5), (2.0, 6.0)}
    again = make_draws(values, 30)
    assert [one.counts.tolist() for one in again[1:]] == [one.counts.tolist() for one in draws]


def finished_sweep(folder: Path, value: Value, **changes: Any) -> tuple[Sweep, Store]:
    sweep, store = load(folder, **changes), Store(folder / "runs")
    for point in sweep.points():
        for config in sweep.trials(point):
            measures = {name: float(one) for name, one in value(point, config.seed).items()}
            fabricate(store, config, State.FINISHED, config.training.epochs, measures=measures)
    return sweep, store


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".parquet")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_the_report_ranks_the_axes_for_each_metric(tmp_path: Path) -> None:
    metrics = [{"name": PROBE, "mode": "max"}, {"name": GAMMA, "mode": "min"}]
    sweep, store = finished_sweep(tmp_path, additive, axes=GRID, metrics=metrics)
    page = write_sweep_report(sweep, store)
    text = page.read_text(encoding="utf-8")
    assert '<a href="#importance">Importance of the axes</a>' in text
    assert "For class, probe, input, τ matters most: 0." in text
    assert "For γ_f, sphere, learning rate matters most: 0." in text
    assert "to seeds, on 16 points and 2 seeds. The interval has 95 % of 1000 resamples" in text
    assert 'aria-label="Importance of the axes for γ_f, sphere by ANOVA' in text
    table = pd.read_csv(page.parent / "tables" / "importance.csv")
    assert table["axis"].tolist() == [TAU, RATE, RATE, TAU]
    assert table["importance"].tolist() == pytest.approx([0.8, 0.2, 0.8, 0.2])
    assert (table["low"] <= table["high"]).all()
    assert table["points"].tolist() == [16] * 4
    before = contents(page.parent)
    assert contents(write_sweep_report(sweep, store).parent) == before


def test_an_axis_counts_the_points_that_have_it(tmp_path: Path) -> None:
    axes = {
        WEIGHT: [0, 0.1, 0.2, 0.3],
        SPLITS: {"values": [4, 8], "when": {WEIGHT: [0.1, 0.2, 0.3]}},
        TAU: [0.1, 0.2, 0.3],
    }

    def value(point: dict[str, Any], seed: int) -> dict[str, float]:
        return {PROBE: point[WEIGHT] + (0.01 if point[SPLITS] == 4 else 0) + seed / 1000}

    sweep, store = finished_sweep(tmp_path, value, axes=axes)
    page = write_sweep_report(sweep, store)
    table = pd.read_csv(page.parent / "tables" / "importance.csv").set_index("axis")
    assert set(table["method"]) == {"PED-ANOVA"}
    assert table["points"].to_dict() == {WEIGHT: 21, SPLITS: 18, TAU: 21}
    assert table["importance"].idxmax() == WEIGHT
    assert table["importance"].sum() == pytest.approx(1)


def report(folder: Path, axes: dict[str, Any], value: Value) -> Path:
    folder.mkdir()
    sweep, store = finished_sweep(folder, value, axes=axes)
    return write_sweep_report(sweep, store)


def test_reports_of_simple_sweeps_do_not_mention_it(tmp_path: Path) -> None:
    one = {TAU: [number / 100 for number in range(5, 20)]}
    few = {TAU: [0.1, 0.2], RATE: [0.001, 0.002]}
    pages = [
        report(tmp_path / "one", one, lambda point, seed: {PROBE: point[TAU]}),
        report(tmp_path / "few", few, additive),
    ]
    for page in pages:
        assert "importance" not in page.read_text(encoding="utf-8")
        assert not (page.parent / "tables" / "importance.csv").exists()


def test_too_few_points_outside_of_a_grid_have_a_reason(tmp_path: Path) -> None:
    axes = {WEIGHT: [0, 0.1], SPLITS: {"values": [4, 8], "when": {WEIGHT: 0.1}}}
    page = report(tmp_path / "few", axes, lambda point, seed: {PROBE: point[WEIGHT]})
    text = page.read_text(encoding="utf-8")
    assert "class, probe, input is not computed: it needs a full grid with all seeds, or 20" in text
    assert 'id="importance"' not in text


def test_a_small_grid_with_a_hole_is_left_out(tmp_path: Path) -> None:
    """A forest of sixteen points would ascribe noise to the axes."""
    sweep, store = finished_sweep(tmp_path, additive, axes=GRID)
    lost = next(iter(make_plan(sweep, store).trials))
    shutil.rmtree(store.trial(lost.trial_id).path)
    page = write_sweep_report(sweep, store)
    assert "it needs a full grid with all seeds, or 20 points" in page.read_text(encoding="utf-8")
    assert not (page.parent / "tables" / "importance.csv").exists()
