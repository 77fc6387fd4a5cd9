"""A part of a sweep's trials, chosen on the command line."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care.errors import ConfigError, Problem
from care.trials.state import State
from sweeps.cli.sweep import prepare
from sweeps.cli.sweep_arguments import SweepArguments
from sweeps.plan import make_plan
from sweeps.process.terminal import make_console
from sweeps.report import find_sweep
from sweeps.run import RunOptions
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from tests.helpers.declaring import SPLITS, WEIGHT, declare, fabricate, load
from tests.helpers.processes import care

Refused = Callable[..., Problem]
CROP = "augmentation.crop.scale"


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """Two methods, three λ, two crops, seeds 3 and 5: 24 trials."""
    return load(
        tmp_path,
        variants={"plain": {}, "gray, more": {"augmentation.grayscale": 0.9}},
        axes={WEIGHT: [0, 0.1, 0.25], CROP: [[0.2, 1.0], [0.5, 1.0]]},
        seeds=[3, 5],
    )


def chosen(sweep: Sweep, *only: str, seeds: str | None = None) -> set[tuple[Any, ...]]:
    """(method, λ, low end of the crop, seed) of each planned trial."""
    plan = make_plan(sweep.select(only, seeds), Store(Path("nowhere")))
    return {
        (trial.point["variant"], trial.point[WEIGHT], trial.point[CROP][0], trial.config.seed)
        for trial in plan.trials
    }


# what is given, trials chosen, and what all of them have in common by its place in the tuple
CHOICES: list[tuple[tuple[str, ...], str | None, int, dict[int, set[Any]]]] = [
    ((), None, 24, {}),
    (("λ=0.1",), None, 8, {1: {0.1}}),
    (("lambda=0.1",), None, 8, {1: {0.1}}),
    ((f"{WEIGHT}=1e-1,2.5e-1",), None, 16, {1: {0.1, 0.25}}),
    (("weight=0.0",), None, 8, {1: {0}}),
    (("equivariance.weight=0", "λ=0.25"), None, 16, {1: {0, 0.25}}),
    (("variant=gray, more",), None, 12, {0: {"gray, more"}}),
    (("variant=plain", "scale=[0.5, 1]"), None, 6, {0: {"plain"}, 2: {0.5}}),
    (("crop.scale=[0.2,1.0],[0.5,1.0]",), None, 24, {}),
    (("seed=5",), None, 12, {3: {5}}),
    ((), "1", 12, {3: {3}}),
    ((), "2", 24, {}),
    ((), "5,", 12, {3: {5}}),
    ((), "[5, 3]", 24, {}),
    (("λ=0",), "1", 4, {1: {0}, 3: {3}}),
]


@pytest.mark.parametrize(("only", "seeds", "number", "common"), CHOICES)
def test_what_is_chosen(
    sweep: Sweep,
    only: tuple[str, ...],
    seeds: str | None,
    number: int,
    common: dict[int, set[Any]],
) -> None:
    found = chosen(sweep, *only, seeds=seeds)
    assert len(found) == number
    assert found <= chosen(sweep)
    for place, values in common.items():
        assert {trial[place] for trial in found} == values


# what is given, field, value, part of what is allowed, nearest name
REFUSED = [
    ("λ", "--only", "λ", "AXIS=VALUE", None),
    ("λ=", "--only", "λ=", "AXIS=VALUE", None),
    ("λ=,", "--only", "λ=,", "AXIS=VALUE", None),
    ("lamda=0", "--only", "lamda", "an axis (variant, λ, scale, seed)", "lambda"),
    ("wieght=0", "--only", "wieght", "an axis", "weight"),
    ("λ=0.3", "--only λ", "0.3", "allowed: 0, 0.1, 0.25", None),
    ("λ=0,0.3", "--only λ", "0.3", "allowed: 0, 0.1, 0.25", None),
    ("λ=false", "--only λ", "false", "allowed: 0, 0.1, 0.25", None),
    ("variant=plan", "--only variant", "plan", "plain, gray, more", "plain"),
    ("seed=4", "--only seed", "4", "allowed: 3, 5", None),
]


@pytest.mark.parametrize(("only", "field", "value", "allowed", "nearest"), REFUSED)
def test_what_is_not_in_the_sweep_is_refused(
    sweep: Sweep, refused: Refused, only: str, field: str, value: str, allowed: str, nearest: str
) -> None:
    problem = refused(sweep.select, [only], None)
    assert (problem.field, problem.value) == (field, value)
    assert allowed in problem.allowed
    assert problem.nearest == nearest


@pytest.mark.parametrize("seeds", ["", "0", "3", "4,", "three", "-1", "3;5", "[", "9" * 5000])
def test_seeds_that_are_not_in_the_sweep_are_refused(
    sweep: Sweep, refused: Refused, seeds: str
) -> None:
    problem = refused(sweep.select, (), seeds)
    assert (problem.field, problem.value) == ("--seeds", seeds)
    assert "a number up to 2, or some of 3, 5" in problem.allowed


def test_a_part_of_a_name_that_several_axes_have_is_refused(
    tmp_path: Path, refused: Refused
) -> None:
    sweep = load(tmp_path, axes={"optimizer.name": ["sgd", "adam"], "data.name": ["digits"]})
    assert "the full field" in refused(sweep.select, ["name=sgd"], None).allowed


@pytest.mark.parametrize(("only", "seeds"), [(["λ=0"], None), ([], "1")])
def test_optuna_chooses_its_points_itself(
    tmp_path: Path, refused: Refused, only: list[str], seeds: str | None
) -> None:
    sweep = load(tmp_path, search={"name": "optuna", "trials": 3})
    assert "grid" in refused(sweep.select, only, seeds).allowed


@given(only=st.lists(st.text() | st.builds("λ={}".format, st.text()), max_size=3), seeds=st.text())
def test_any_text_chooses_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, only: list[str], seeds: str
) -> None:
    sweep = load(tmp_path_factory.getbasetemp())
    try:
        selection = sweep.select(only, seeds).selection
    except ConfigError:
        return
    assert selection.seeds


def test_the_declaration_stays_whole(tmp_path: Path) -> None:
    """A report after a run of a part knows the sweep's other trials."""
    declared = SweepArguments(declare(tmp_path), ("seeds=1", "training.epochs=2"), only=("λ=0",))
    store = Store(tmp_path / "runs")
    sweep = declared.load()
    plan = make_plan(sweep, store)
    assert plan.wanted == 1
    prepare(declared, plan, store, RunOptions(), make_console())
    written = json.loads((tmp_path / "runs/sweeps/tiny/sweep.json").read_text())
    assert written["spec"]["seeds"] == [0, 1]
    assert written["overrides"] == ["training.epochs=2"]
    whole = make_plan(find_sweep("tiny", None, store), store)
    assert whole.wanted == 4
    assert set(plan.unique()) < set(whole.unique())
    assert make_plan(sweep.whole(), store).unique().keys() == whole.unique().keys()


def test_commands_keep_the_choice(tmp_path: Path) -> None:
    file = declare(tmp_path, axes={SPLITS: [4, 8]})
    declared = SweepArguments(file, ("seeds=1",), None, ("splits=4",), None, tmp_path / "my runs")
    assert declared.command("run") == (
        f"care sweep run {file} seeds=1 --only splits=4 --store '{tmp_path}/my runs'"
    )
    assert (
        declared.without_selection.command("run")
        == f"care sweep run {file} --store '{tmp_path}/my runs'"
    )


def test_seeds_are_given_once(tmp_path: Path, refused: Refused) -> None:
    declared = SweepArguments(declare(tmp_path), ("seeds=1",), seeds="2")
    assert refused(declared.load).field == "seeds"


def test_after_a_part_the_report_is_of_the_whole(tmp_path: Path) -> None:
    """The chosen trial is finished already, so that the run only reports."""
    sweep, store = load(tmp_path), Store(tmp_path / "runs")
    fabricate(store, sweep.trial({WEIGHT: 0}, 0), State.FINISHED, 3)
    done = care("sweep", "run", "sweep.yaml", "--only", "λ=0", "--seeds", "1", cwd=tmp_path)
    assert (
        "chosen: 1 of the sweep's 4 trials; all of them: care sweep run sweep.yaml" in done.stdout
    )
    page = (tmp_path / "runs/sweeps/tiny/report/report.html").read_text()
    assert "1 of 4 trials finished" in page
    with sqlite3.connect(tmp_path / "runs" / "mlflow.db") as database:
        question = "SELECT status FROM runs NATURAL JOIN tags WHERE key = 'care.kind' AND value = ?"
        assert database.execute(question, ["sweep"]).fetchall() == [("KILLED",)], "three are new"
        assert database.execute(question, ["trial"]).fetchall() == [("FINISHED",)]
