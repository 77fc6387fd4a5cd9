"""``care compare``: paired differences that scipy confirms, and nothing compared that is not alike."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import care
from analysis.sweep_comparison import SweepComparison
from care.trials.state import State
from sweeps.cli.compare import CompareOptions, compare_command
from sweeps.plan import PlannedTrial, make_plan
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from tests.helpers.declaring import SPLITS, WEIGHT, fabricate
from tests.helpers.small_store import declared

SEEDS = 3
GAMMA, ACCURACY = "head/gamma", "encoder/probe_accuracy"
TEMPERATURE = "objective.temperature"

Measure = Callable[[PlannedTrial], float]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def start(folder: Path, store: Store, name: str = "tiny", **changes: Any) -> Sweep:
    axes = {WEIGHT: [0, 0.1]}
    metric = {"name": GAMMA, "mode": "min"}
    fields = {"axes": axes, "seeds": SEEDS, "metric": metric, "name": name, **changes}
    return declared(folder, store, **fields)


def finish(store: Store, sweep: Sweep, measure: Measure, **changes: Any) -> None:
    uniformity = changes.pop("uniformity", 0.2)
    for trial in make_plan(sweep, store).trials:
        if trial.state == State.NEW:
            measures = {GAMMA: measure(trial), ACCURACY: 1 - measure(trial) ** 2}
            metrics = {"step": 1, "heldout/uniformity": uniformity}
            fabricate(
                store,
                trial.config,
                State.FINISHED,
                3,
                metrics=metrics,
                measures=measures,
                **changes,
            )


def weight(trial: PlannedTrial) -> float:
    return trial.config.objective.equivariance.weight


def plain(trial: PlannedTrial) -> float:
    return 0.5 - weight(trial) + 0.01 * trial.config.seed


def cooler(trial: PlannedTrial) -> float:
    return 0.3 - weight(trial) ** 2 + 0.013 * trial.config.seed**2


def compared(
    capsys: pytest.CaptureFixture[str], store: Store, one: str, other: str, **options: Any
) -> dict[str, Any]:
    compare_command(one, other, store.root, CompareOptions(**options, as_json=True))
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def rows(found: dict[str, Any], metric: str = GAMMA) -> dict[str, dict[str, Any]]:
    return {row["point"]: row for row in found["differences"] if row["metric"] == metric}


def reasons(found: dict[str, Any]) -> dict[str, str]:
    return {row["reason"]: row["trials"] for row in found["not_compared"]}


@pytest.fixture
def two_sweeps(store: Store, tmp_path: Path) -> Store:
    """Two sweeps over λ that differ in τ."""
    finish(store, start(tmp_path, store), plain)
    finish(store, start(tmp_path, store, "cool", overrides={TEMPERATURE: 0.2}), cooler)
    return store


def test_differences_are_scipys_paired_by_axis_and_seed(
    two_sweeps: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compared(capsys, two_sweeps, "tiny", "cool")
    assert found["pairs"] == 2 * SEEDS
    assert [row["field"] for row in found["settings"]] == [TEMPERATURE]
    assert (found["settings"][0]["a"], found["settings"][0]["b"]) == ("0.5", "0.2")
    by_point = {
        value: (
            [0.5 - value + 0.01 * seed for seed in range(SEEDS)],
            [0.3 - value**2 + 0.013 * seed**2 for seed in range(SEEDS)],
        )
        for value in (0, 0.1)
    }
    for value, (one, other) in by_point.items():
        row = rows(found)[f"λ={value}"]
        interval = stats.ttest_rel(other, one).confidence_interval(0.95)
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
        assert (row["one"], row["other"]) == pytest.approx((np.mean(one), np.mean(other)))
        assert row["n"] == SEEDS
        assert row["verdict"] == "lower, which is better"
    one, other = (np.mean([by_point[v][side] for v in (0, 0.1)], axis=0) for side in (0, 1))
    interval = stats.ttest_rel(other, one).confidence_interval(0.95)
    row = rows(found)["all points"]
    assert (row["low"], row["high"], row["n"]) == pytest.approx(
        (interval.low, interval.high, SEEDS)
    )
    assert not found["not_compared"]


def test_python_compares_as_the_command_does(
    two_sweeps: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (care.sweep(name, store=two_sweeps.root) for name in ("tiny", "cool"))
    result = one.compare(other, by="λ")
    assert isinstance(result, SweepComparison)
    compare_command("tiny", "cool", two_sweeps.root, CompareOptions(table="-"))
    printed = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    table = result.table().to_dict("records")
    assert [float(row["difference"]) for row in printed] == [row["difference"] for row in table]
    assert "all points: γ_f, sphere lower, which is better" in repr(result)
    assert TEMPERATURE in result._repr_html_()


def test_the_terminal_shows_settings_first_and_then_what_changes(
    two_sweeps: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    assert compare_command("tiny", "cool", two_sweeps.root, CompareOptions(page=page)) == 0
    output = capsys.readouterr().out
    parts = ["A: tiny, 6 finished", "6 pairs of equal λ and seed", TEMPERATURE, "γ_f, sphere"]
    assert [output.index(part) for part in parts] == sorted(output.index(part) for part in parts)
    assert re.search(r"λ=0\.1 .* −0\.\d+ ± 0\.\d+ +3  lower, which is better", output)
    assert "comparisons were made" in output
    text = page.read_text()
    assert not re.findall(r'(?:src|href)="(?!#)', text)
    assert "lower, which is better" in text
    assert text.count('role="img"') > 1, "a panel for each measure"
    assert re.search(r'aria-label="γ_f[^"]*against λ', text), "drawn, and described in words"


def test_two_stores_are_paired_by_configuration(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Store(tmp_path / "other")
    for each in (store, other):
        finish(each, start(tmp_path, each), plain)
    found = compared(capsys, store, "tiny", "tiny", other_store=other.root)
    assert (found["pairs"], found["equal"], found["settings"]) == (6, 6, [])
    assert {row["verdict"] for row in found["differences"]} == {"equal in every pair"}
    compare_command("tiny", "tiny", store.root, CompareOptions(other_store=other.root))
    assert "no setting differs; all with equal numbers, bit for bit" in capsys.readouterr().out


def test_the_archived_results_of_other_code_are_compared_with_the_present_ones(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = start(tmp_path, store)
    finish(store, sweep, plain, code="ast1-aaaa")
    found = compared(capsys, store, "tiny", "tiny")
    assert found["pairs"] == 0
    assert any("SWEEP@ast1-aaaa compares it" in reason for reason in reasons(found))
    for trial in make_plan(sweep, store).trials:
        assert store.archive(trial.trial_id)
    finish(store, sweep, lambda trial: plain(trial) - 0.1 - 0.01 * trial.config.seed)
    for version in ("aaaa", "ast1-aa", "archived"):
        found = compared(capsys, store, f"tiny@{version}", "tiny")
        assert found["pairs"] == 6
        assert rows(found)["all points"]["difference"] == pytest.approx(-0.11)
        (code,) = [row for row in found["run"] if row["fact"] == "code version"]
        assert code["a"] == "ast1-aaaa"


def test_a_version_without_results_is_refused_with_those_that_have_some(
    store: Store, tmp_path: Path, refused: Callable[..., Any]
) -> None:
    finish(store, start(tmp_path, store), plain, code="ast1-abcd")
    options = CompareOptions()
    problem = refused(compare_command, "tiny@ast1-abce", "tiny", store.root, options)
    assert problem.nearest == "ast1-abcd"
    assert "ast1-abcd (6 trials)" in problem.allowed
    assert refused(compare_command, "tiny@", "tiny", store.root, options).value == ""


@pytest.mark.parametrize(
    ("provenance", "reason"),
    [
        (
            {"data": {"data": "bbbbbbbbbbbb"}},
            "other data: data, fingerprint aaaaaaaa… and bbbbbbbb…",
        ),
        ({"precision": "bf16"}, "another precision: fp32 and bf16"),
    ],
)
def test_trials_of_other_data_or_precision_are_named_and_not_compared(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], provenance: Any, reason: str
) -> None:
    own = {"data": {"data": "aaaaaaaaaaaa"}, "precision": "fp32"}
    other = Store(tmp_path / "other")
    for each, facts in ((store, own), (other, {**own, **provenance})):
        # Both of one other code: as a version, they are not compared with the data of this machine.
        finish(each, start(tmp_path, each), plain, provenance=facts, code="ast1-c0de")
    found = compared(capsys, store, "tiny@ast1-c0de", "tiny@ast1-c0de", other_store=other.root)
    assert found["pairs"] == 0
    assert reasons(found) == {reason: "λ=0 (seed 0, 1, 2); λ=0.1 (seed 0, 1, 2)"}


def test_a_precision_that_is_chosen_is_a_setting(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(store, start(tmp_path, store), plain, provenance={"precision": "fp32"})
    half = start(tmp_path, store, "half", overrides={"training.precision": "bf16"})
    finish(store, half, cooler, provenance={"precision": "bf16"})
    found = compared(capsys, store, "tiny", "half")
    assert found["pairs"] == 6
    assert [row["field"] for row in found["settings"]] == ["training.precision"]


def test_unfinished_and_collapsed_trials(
    two_sweeps: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = start(tmp_path, two_sweeps, "near", overrides={TEMPERATURE: 0.3})
    trials = make_plan(sweep, two_sweeps).trials
    for trial in trials:
        done = (weight(trial), trial.config.seed) != (0.1, 1)
        uniformity = 0.95 if weight(trial) == 0 else 0.2
        fabricate(
            two_sweeps,
            trial.config,
            State.FINISHED if done else State.FAILED,
            3 if done else 1,
            metrics={"step": 1, "heldout/uniformity": uniformity},
            measures={GAMMA: cooler(trial)},
        )
    found = compared(capsys, two_sweeps, "tiny", "near")
    assert found["pairs"] == 5
    assert reasons(found) == {
        "failed in B: broke": "λ=0.1 (seed 1)",
        "not measured in B": ACCURACY,
    }
    by_point = rows(found)
    assert [by_point[name]["collapsed"] for name in ("λ=0", "λ=0.1")] == [True, False]
    assert by_point["all points"]["n"] == by_point["λ=0.1"]["n"] == 2
    assert by_point["all points"]["difference"] == by_point["λ=0.1"]["difference"]


def test_by_an_axis_the_others_are_averaged_within_a_seed(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(store, start(tmp_path, store), plain)
    axes = {WEIGHT: [0.1, 0.2], SPLITS: [2, 4]}

    def split(trial: PlannedTrial) -> float:
        return 0.1 * trial.config.objective.equivariance.splits + 0.02 * trial.config.seed**2

    finish(store, start(tmp_path, store, "split", axes=axes), split)
    apart = compared(capsys, store, "tiny", "split")
    assert apart["pairs"] == 0, "the first has 16 splits"
    found = compared(capsys, store, "tiny", "split", by=["lambda"])
    assert found["pairs"] == SEEDS
    one = [0.4 + 0.01 * seed for seed in range(SEEDS)]
    other = [0.3 + 0.02 * seed**2 for seed in range(SEEDS)]
    row = rows(found)["λ=0.1"]
    interval = stats.ttest_rel(other, one).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert {"field": SPLITS, "a": "16", "b": "2, 4"} in found["settings"]
    assert reasons(found) == {
        "without a counterpart in B": "λ=0 (seed 0, 1, 2)",
        "without a counterpart in A": "λ=0.2 (seed 0, 1, 2)",
    }


def test_a_seed_that_lacks_a_setting_is_left_out_of_an_average(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(store, start(tmp_path, store), plain)
    sweep = start(tmp_path, store, "split", axes={WEIGHT: [0.1], SPLITS: [2, 4]})
    finish(store, sweep, cooler)
    lost = next(
        trial
        for trial in make_plan(sweep, store).trials
        if (trial.config.objective.equivariance.splits, trial.config.seed) == (4, 2)
    )
    store.archive(lost.trial_id)
    found = compared(capsys, store, "tiny", "split", by=["λ"])
    assert rows(found)["λ=0.1"]["n"] == 2
    assert reasons(found)["lacks settings in B that other seeds have"] == "λ=0.1 (seed 2)"


def test_points_that_two_sweeps_share_are_not_compared_with_themselves(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(store, start(tmp_path, store), plain)
    start(tmp_path, store, "same", axes={WEIGHT: [0.1, 0.5]})
    found = compared(capsys, store, "tiny", "same")
    assert found["pairs"] == 0
    assert reasons(found)["A and B have one trial, so there are no two to compare"] == (
        "λ=0.1 (seed 0, 1, 2)"
    )
    assert reasons(found)["new in B"] == "λ=0.5 (seed 0, 1, 2)"
    assert compare_command("tiny", "same", store.root, CompareOptions()) == 1
    assert "No two trials can be compared." in capsys.readouterr().out


def test_methods_pair_by_configuration_and_by_an_axis_that_both_have(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A method is a name for settings, which a sweep over λ may have without the name."""
    other = Store(tmp_path / "other")
    finish(store, start(tmp_path, store), plain)
    variants = {"SimCLR": {WEIGHT: 0}, "warm": {WEIGHT: 0.1, TEMPERATURE: 0.9}}
    axes = {"variant": list(variants)}
    finish(other, start(tmp_path, other, "methods", axes=axes, variants=variants), cooler)
    found = compared(capsys, store, "tiny", "methods", other_store=other.root)
    assert set(rows(found)) == {"λ=0 SimCLR"}
    assert reasons(found) == {
        "has no method, which pairs share (--by names other axes)": "λ=0.1 (seed 0, 1, 2)",
        "without a counterpart in A": "λ=0.1 warm (seed 0, 1, 2)",
    }
    found = compared(capsys, store, "tiny", "methods", other_store=other.root, by=["λ"])
    assert [row["field"] for row in found["settings"]] == [TEMPERATURE]
    assert set(rows(found)) == {"λ=0", "λ=0.1", "all points"}


@pytest.mark.parametrize(
    ("one", "other", "options", "field", "nearest"),
    [
        ("tiny", "coool", {}, "sweep", "cool"),
        ("tiny", "cool", {"by": ["lamda"]}, "axis", "lambda"),
        ("tiny", "cool", {"other_store": Path("/absent")}, "--store", None),
        ("tiny", "cool", {"page": Path("/absent/page.html")}, "--html", None),
        ("tiny", "cool", {"page": Path("/")}, "--html", None),
        ("tiny", "cool", {"table": "-", "as_json": True}, "--csv", None),
    ],
)
def test_bad_input_is_refused(
    two_sweeps: Store,
    refused: Callable[..., Any],
    one: str,
    other: str,
    options: dict[str, Any],
    field: str,
    nearest: str | None,
) -> None:
    problem = refused(compare_command, one, other, two_sweeps.root, CompareOptions(**options))
    assert (problem.field, problem.nearest) == (field, nearest)


def test_a_comparison_writes_nothing_into_the_stores(
    two_sweeps: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in two_sweeps.root.rglob("*")}
    compared(capsys, two_sweeps, "tiny", "cool")
    assert {path: path.stat().st_mtime_ns for path in two_sweeps.root.rglob("*")} == before
