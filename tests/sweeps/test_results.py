"""``care.sweep`` in Python and notebooks: the report's numbers, and what it refuses."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from scipy import stats

import care
from analysis.results import SweepResults
from care.errors import CareError, ConfigError
from care.system.claim import Claim
from care.trials.state import RecordedState, State
from sweeps.plan import make_plan
from sweeps.spec.sweep import Sweep, load_sweep
from sweeps.store import Store
from tests.helpers.declaring import SPLITS, WEIGHT, declare, fabricate
from tests.helpers.processes import CARE
from tests.helpers.processes import care as care_command
from tests.helpers.small_store import declared
from tests.sweeps.tune.test_importance import GAMMA, GRID, PROBE, RATE, TAU, additive

WEIGHTS = (0.0, 0.1, 1.0)
SEEDS = 3
COLLAPSED = 1.0


def gamma(weight: float, seed: int) -> float:
    """Fall with the weight, by another amount in each seed."""
    return 0.5 - 0.3 * weight + 0.01 * seed - 0.02 * weight * seed**2


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def start(store: Store, folder: Path, **changes: Any) -> Sweep:
    metric = {"name": "head/gamma", "mode": "min"}
    return declared(
        folder, store, axes={WEIGHT: list(WEIGHTS)}, seeds=SEEDS, metric=metric, **changes
    )


def finish(store: Store, sweep: Sweep, *left_out: tuple[float, int], **changes: Any) -> None:
    """Fabricate the finished trials of a sweep; the largest weight is nearly collapsed."""
    for trial in make_plan(sweep, store).trials:
        weight, seed = float(trial.point[WEIGHT]), trial.config.seed
        if (weight, seed) not in left_out:
            metrics = {"step": 1, "heldout/uniformity": 0.95 if weight == COLLAPSED else 0.2}
            measures = {"head/gamma": gamma(weight, seed), "encoder/probe_accuracy": weight / 2}
            fabricate(
                store,
                trial.config,
                State.FINISHED,
                3,
                metrics=metrics,
                measures=measures,
                **changes,
            )


@pytest.fixture
def results(store: Store, tmp_path: Path) -> SweepResults:
    finish(store, start(store, tmp_path))
    opened = care.sweep("tiny", store=store.root)
    assert isinstance(opened, SweepResults)
    return opened


def test_tables_are_those_of_the_report(results: SweepResults) -> None:
    tables = results.report().parent / "tables"
    for name in ("trials", "curves", "summary", "differences"):
        expected = pd.read_parquet(tables / f"{name}.parquet")
        pd.testing.assert_frame_equal(getattr(results, name), expected, check_dtype=False)
    for name in ("trials", "curves", "summary", "differences"):
        documented = getattr(SweepResults, name).__doc__
        fixed = {str(column) for column in getattr(results, name).columns if "/" not in str(column)}
        assert not [
            column for column in fixed - {WEIGHT, "step"} if f"``{column}``" not in documented
        ]


def row_of(table: pd.DataFrame, weight: float, metric: str = "head/gamma") -> dict[str, Any]:
    rows = table[(table[WEIGHT] == weight) & (table["metric"] == metric)].to_dict("records")
    assert len(rows) == 1
    return {str(name): value for name, value in rows[0].items()}


def test_means_and_paired_differences_are_scipys(results: SweepResults) -> None:
    row = row_of(results.summary, 0.1)
    values = [gamma(0.1, seed) for seed in range(SEEDS)]
    low, high = stats.t.interval(0.95, SEEDS - 1, np.mean(values), stats.sem(values))
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((np.mean(values), low, high))
    table = results.compare(baseline="λ=0.1")
    row = row_of(table, 0.0)
    expected = stats.ttest_rel(
        [gamma(0.0, seed) for seed in range(SEEDS)], [gamma(0.1, seed) for seed in range(SEEDS)]
    ).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert (row["n"], row["pairs"]) == (SEEDS, SEEDS)
    assert COLLAPSED not in set(table[WEIGHT])
    assert results.compare(baseline=0.1, axis="lambda").equals(results.compare(baseline="0.1"))


def test_the_best_point_is_not_a_collapsed_one_and_its_trials_can_be_loaded(
    results: SweepResults, store: Store
) -> None:
    best = results.best()
    assert (best.point, best.name) == ({WEIGHT: 0.1}, "λ=0.1")
    assert best.estimate.mean == pytest.approx(np.mean([gamma(0.1, seed) for seed in range(SEEDS)]))
    assert sorted(best.trials) == list(range(SEEDS))
    for seed, trial in best.trials.items():
        record = store.trial(trial).read_trial()
        assert record
        assert record.config["seed"] == seed
    assert "λ=0.1" in str(best)
    assert "nearly collapsed" in repr(results)
    assert "λ=1" in repr(results)


def test_the_best_points_are_the_points_of_another_sweep(
    results: SweepResults, store: Store, tmp_path: Path
) -> None:
    ranked = results.best_points(9)
    assert [best.point for best in ranked] == [{WEIGHT: 0.1}, {WEIGHT: 0.0}]
    means = [np.mean([gamma(weight, seed) for seed in range(SEEDS)]) for weight in (0.1, 0.0)]
    assert [best.estimate.mean for best in ranked] == pytest.approx(means)
    said = care_command(
        "sweep", "best", "tiny", "--points=9", "--csv=best.csv", f"--store={store.root}",
        cwd=tmp_path,
    ).stdout  # fmt: skip
    assert [line.split()[:2] for line in said.splitlines()[1:3]] == [["1", "λ=0.1"], ["2", "λ=0"]]
    assert "asked for 9" in said
    (again := tmp_path / "again").mkdir()
    file = declare(again, name="again", axes=None, points={"file": str(tmp_path / "best.csv")})
    assert [*load_sweep(file).points()] == [best.point for best in ranked]


@pytest.mark.parametrize(("state", "epoch"), [(State.FAILED, 1), (State.PAUSED, 2)])
def test_an_unfinished_trial_is_in_the_table_and_in_no_mean(
    store: Store, tmp_path: Path, state: RecordedState, epoch: int
) -> None:
    sweep = start(store, tmp_path)
    finish(store, sweep, (0.1, 2))
    config = next(
        trial.config
        for trial in make_plan(sweep, store).trials
        if (trial.point[WEIGHT], trial.config.seed) == (0.1, 2)
    )
    fabricate(store, config, state, epoch, metrics={"head/gamma": 99.0})
    opened = care.sweep("tiny", store=store.root)
    assert opened.counts() == {"finished": 8, state.value: 1}
    assert opened.trials["head/gamma"].max() == 99
    row = row_of(opened.summary, 0.1)
    assert row["n"] == 2
    assert row["mean"] == pytest.approx(np.mean([gamma(0.1, 0), gamma(0.1, 1)]))
    assert ("left out of every mean" in repr(opened)) == (state == State.FAILED)


def test_stale_and_damaged_trials_are_in_no_mean(store: Store, tmp_path: Path) -> None:
    sweep = start(store, tmp_path)
    finish(store, sweep, (0.0, 0))
    plan = {(t.point[WEIGHT], t.config.seed): t for t in make_plan(sweep, store).trials}
    fabricate(
        store, plan[0.0, 0].config, State.FINISHED, 3, code="ast1-other", measures={"head/gamma": 9}
    )
    (store.trial(plan[0.1, 1].trial_id).path / "evaluation.json").write_text("{")
    opened = care.sweep("tiny", store=store.root)
    assert opened.counts() == {"finished": 7, "stale": 1, "damaged": 1}
    assert [row_of(opened.summary, weight)["n"] for weight in WEIGHTS] == [2, 2, 3]
    assert "stale, damaged: left out of every mean" in repr(opened)
    reasons = opened.trials.set_index("state")["error"]
    assert "other code" in reasons["stale"]
    assert "evaluation.json" in reasons["damaged"]


DESIGN: dict[str, Any] = {
    "axes": {TAU: {"low": 0.1, "high": 0.4}, RATE: {"low": 0.001, "high": 0.004}},
    "search": {"name": "sobol", "trials": 20},
}


@pytest.mark.parametrize(
    ("declaration", "method"),
    [({"axes": GRID}, "ANOVA"), (DESIGN, "fANOVA")],
    ids=["grid", "design"],
)
def test_the_importance_of_axes_is_that_of_the_report(
    store: Store, tmp_path: Path, declaration: dict[str, Any], method: str
) -> None:
    metrics = [{"name": PROBE, "mode": "max"}, {"name": GAMMA, "mode": "min"}]
    sweep = declared(tmp_path, store, seeds=1, metrics=metrics, **declaration)
    for trial in make_plan(sweep, store).trials:
        measures = additive(trial.point, trial.config.seed)
        fabricate(store, trial.config, State.FINISHED, 3, measures=measures)
    opened = care.sweep("tiny", store=store.root)
    table = opened.importance
    assert table["axis"].tolist() == [TAU, RATE, RATE, TAU]
    assert set(table["method"]) == {method}
    if method == "ANOVA":
        assert table["importance"].tolist() == pytest.approx([0.8, 0.2, 0.8, 0.2])
    written = pd.read_parquet(opened.report().parent / "tables" / "importance.parquet")
    pd.testing.assert_frame_equal(table, written, check_dtype=False)
    documented = SweepResults.importance.__doc__ or ""
    assert not [column for column in table.columns if f"``{column}``" not in documented]


def test_importance_that_is_not_computed_has_a_reason(
    store: Store, tmp_path: Path, results: SweepResults
) -> None:
    with pytest.raises(CareError, match=r"tiny: .* needs two axes that vary"):
        _ = results.importance
    metric = {"name": GAMMA, "mode": "min"}
    sweep = declared(tmp_path, store, name="design", seeds=1, metric=metric, **DESIGN)
    with pytest.raises(CareError, match="at least one finished trial"):
        _ = care.sweep("design", store=store.root).importance
    for trial in make_plan(sweep, store).trials[:12]:
        fabricate(store, trial.config, State.FINISHED, 3, measures=additive(trial.point, 0))
    with pytest.raises(CareError, match=r"is not computed: it needs .* and there are 12"):
        _ = care.sweep("design", store=store.root).importance


def test_where_nothing_counts_it_says_so(store: Store, tmp_path: Path) -> None:
    sweep = start(store, tmp_path)
    untouched = care.sweep("tiny", store=store.root)
    assert untouched.counts() == {"new": 9}
    finish(store, sweep, code="ast1-other")
    for opened in (untouched, care.sweep("tiny", store=store.root)):
        assert opened.summary.empty
        assert opened.compare().empty
        assert "9 trials" in opened._repr_html_()
        with pytest.raises(CareError, match="no trial is finished"):
            opened.best()
        with pytest.raises(ConfigError, match="none is finished yet"):
            opened.plot()
    assert opened.counts() == {"stale": 9}


def test_a_sweep_that_runs_is_read_as_it_is_now(store: Store, tmp_path: Path) -> None:
    sweep = start(store, tmp_path)
    finish(store, sweep, (0.1, 2))
    (missing,) = [t for t in make_plan(sweep, store).trials if t.state == State.NEW]
    claim = Claim.take(store.trial(missing.trial_id).path)
    assert claim
    with claim:
        before = care.sweep("tiny", store=store.root)
        assert before.counts() == {"finished": 8, "running": 1}
    finish(store, sweep)
    assert before.counts() == {"finished": 8, "running": 1}
    assert care.sweep("tiny", store=store.root).counts() == {"finished": 9}


@pytest.mark.parametrize(("width", "inches"), [("single", 3.3), ("double", 6.8)])
def test_a_plot_has_the_width_and_type_of_a_paper(
    results: SweepResults, tmp_path: Path, width: str, inches: float
) -> None:
    figure = results.plot("head/gamma", against="λ", width=width)
    figure.savefig(tmp_path / "plot.pdf")
    sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_text()}
    assert sizes == {8}
    assert figure.get_figwidth() == inches
    content = (tmp_path / "plot.pdf").read_bytes()
    assert b"/FontFile2" in content, "fonts are embedded as TrueType"
    assert b"/Type3" not in content
    shown = matplotlib.image.imread(io.BytesIO(figure._repr_png_()))
    assert shown.shape[1] == pytest.approx(inches * 150, abs=1)


def test_a_plot_draws_each_seed_the_means_and_their_intervals(results: SweepResults) -> None:
    (axes,) = results.plot(against="lambda").axes
    drawn = [np.asarray(line.get_ydata(), float) for line in axes.lines]
    expected = [[gamma(weight, seed) for seed in range(SEEDS)] for weight in WEIGHTS]
    for values in expected:
        assert any(len(ys) == SEEDS and np.allclose(sorted(ys), sorted(values)) for ys in drawn)
        low, high = stats.t.interval(0.95, SEEDS - 1, np.mean(values), stats.sem(values))
        assert any(len(ys) == 2 and np.allclose(ys, [low, high]) for ys in drawn)
    means = [np.mean(values) for values in expected]
    assert any(np.allclose(ys, means) for ys in drawn if len(ys) == len(means))
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["0", "0.1", "1"]
    steps = np.diff(axes.get_xticks())
    assert steps[1] == pytest.approx(1), "a decade, on a logarithmic axis"
    assert axes.get_xlabel() == "λ"
    assert axes.get_ylabel() == "γ_f, sphere (↓)"
    (axes,) = results.plot(difference=True).axes
    changes = [np.mean(expected[0]) - np.mean(values) for values in expected]
    lines = [np.asarray(line.get_ydata(), float) for line in axes.lines]
    assert any(len(ys) == 3 and np.allclose(ys, np.negative(changes)) for ys in lines)


def test_another_axis_may_be_on_x(store: Store, tmp_path: Path) -> None:
    sweep = declared(tmp_path, store, axes={WEIGHT: [0.1, 0.2], SPLITS: [2, 4, 8]}, seeds=2)
    for trial in make_plan(sweep, store).trials:
        fabricate(store, trial.config, State.FINISHED, 3, measures={"head/gamma": 0.5})
    opened = care.sweep("tiny", store=store.root)
    assert opened.plot("head/gamma").axes[0].get_xlabel() == "λ"
    figure = opened.plot("head/gamma", against="splits")
    assert figure.axes[0].get_xlabel() == "splits"
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == ["λ=0.1", "λ=0.2"]


@pytest.mark.parametrize(
    ("call", "field", "nearest"),
    [
        (lambda s, root: care.sweep("tinny", store=root), "sweep", "tiny"),
        (lambda s, root: care.sweep(root), "sweep", None),
        (lambda s, root: care.sweep("tiny", store=root / "absent"), "store", None),
        (lambda s, root: care.sweep(root / "sweeps" / "tiny", store="elsewhere"), "store", None),
        (lambda s, root: s.plot("head/gama"), "measure", "head/gamma"),
        (lambda s, root: s.plot("probe_accuracy"), "measure", "encoder/probe_accuracy"),
        (lambda s, root: s.plot(against="wieght"), "axis", "weight"),
        (lambda s, root: s.plot(width="singel"), "width", "single"),
        (lambda s, root: s.compare(axis="lamda"), "axis", "lambda"),
        (lambda s, root: s.compare(baseline=7), "λ", None),
        (lambda s, root: s.compare(baseline="λ=0.2"), "λ", "0.1"),
        (lambda s, root: s.compare(baseline=True), "λ", None),
    ],
)
def test_bad_input_is_refused_with_the_nearest_name(
    results: SweepResults, store: Store, call: Any, field: str, nearest: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        call(results, store.root)
    (problem,) = caught.value.problems
    assert (problem.field, problem.nearest) == (field, nearest)
    assert problem.allowed.startswith("allowed: ")


def test_a_sweep_is_found_by_folder_and_by_environment(
    results: SweepResults, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert care.sweep(store.root / "sweeps" / "tiny").counts() == results.counts()
    monkeypatch.setenv("CARE_STORE", str(store.root))
    assert care.sweep("tiny").counts() == results.counts()


def test_reading_writes_nothing(results: SweepResults, store: Store) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    opened = care.sweep("tiny", store=store.root)
    repr(opened), opened._repr_html_(), opened.trials, opened.summary, opened.plot()
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before


def test_importing_care_loads_no_pandas_and_a_sweep_no_torch(
    results: SweepResults, store: Store
) -> None:
    code = (
        "import sys, care\n"
        "assert 'sweep' in dir(care)\n"
        "assert not {'pandas', 'torch', 'sweeps', 'analysis'} & set(sys.modules)\n"
        "print(care.sweep('tiny').best())\n"
        "assert not {'torch', 'ray', 'mlflow', 'matplotlib'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "CARE_STORE": str(store.root)}
    done = subprocess.run(
        [CARE[0], "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("λ=0.1: "), done.stderr
