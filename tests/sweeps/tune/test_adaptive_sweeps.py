"""Sweeps whose points get seeds until they are decided: driver, plan, log, report."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from care.config import TrialConfig
from care.errors import Problem
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.cli.sweep_arguments import SweepArguments
from sweeps.cli.sweep_plan import plan_command
from sweeps.inventory import SweepReader
from sweeps.plan import Plan, make_plan, trial_configs
from sweeps.report import read_answer, write_sweep_report
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from tests.helpers.declaring import SPLITS, WEIGHT, declare, fabricate, load
from tests.helpers.playing import METRICS, World, play
from tests.helpers.processes import care

GAMMA = METRICS[0]
SEEDS = {"least": 3, "most": 10, "until": "decided"}
CLEAR, UNCLEAR = 0.3, 0.1


def declared(folder: Path, **changes: Any) -> Sweep:
    settings: dict[str, Any] = {
        "axes": {WEIGHT: [0, UNCLEAR, CLEAR]},
        "seeds": SEEDS,
        "metric": {"name": GAMMA, "mode": "min"},
        "resources": {"threads": 1},
    }
    return load(folder, **{**settings, **changes})


def numbers(config: TrialConfig, epoch: int) -> dict[str, float]:
    """One λ is clearly better, one is above and below λ = 0 in turn."""
    weight, seed = config.objective.equivariance.weight, config.seed
    changes = {0: 0.0, CLEAR: -0.5 - 0.01 * (seed % 3), UNCLEAR: 0.1 * (-1) ** seed}
    return {GAMMA: 1 + changes[weight] + 1 / epoch, "heldout/uniformity": 0.1}


@pytest.fixture(autouse=True)
def _values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.helpers.playing.numbers", numbers)


def seeds_of(plan: Plan) -> dict[float, list[int]]:
    found: dict[float, list[int]] = {}
    for trial in plan.trials:
        found.setdefault(trial.point[WEIGHT], []).append(trial.config.seed)
    return found


FIRST = {weight: [0, 1, 2] for weight in (0, UNCLEAR, CLEAR)}
ALL = {0: list(range(10)), UNCLEAR: list(range(10)), CLEAR: [0, 1, 2]}


def test_points_get_seeds_until_they_are_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, store, world = declared(tmp_path), Store(tmp_path / "runs"), World()
    before = make_plan(sweep, store)
    assert seeds_of(before) == FIRST
    assert not before.complete
    outcome = play(world, sweep, store, monkeypatch)
    assert outcome.complete
    assert seeds_of(outcome.plan) == ALL
    assert len(world.taken) == 23
    events = store.sweep("tiny").events()
    assert [event["seeds"] for event in events] == [3, 5, 8, 10]
    first = {point["point"][WEIGHT]: point for point in events[0]["points"]}
    assert [first[weight]["verdict"] for weight in (UNCLEAR, CLEAR)] == ["undecided", "decided"]
    assert first[CLEAR]["difference"] == pytest.approx(-0.51)
    assert first[CLEAR]["p"] < 0.05
    assert [len(event["points"]) for event in events] == [2, 1, 1, 1]

    play(world, sweep, store, monkeypatch)
    assert not world.taken, "a second run has nothing to do"
    assert store.sweep("tiny").events() == events


def test_the_seeds_follow_from_the_store_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that dies between two trials, or a lost log, changes no decision."""
    sweep, store, world = declared(tmp_path), Store(tmp_path / "runs"), World()
    play(world, sweep, store, monkeypatch)
    order = list(world.taken)
    (store.sweep("tiny").path / "events.jsonl").unlink()
    assert seeds_of(make_plan(sweep, store)) == ALL
    for identity in order[5:]:  # as after a kill: of the first look, five trials were finished
        shutil.rmtree(store.trial(identity).path)
    plan = make_plan(sweep, store)
    assert seeds_of(plan) == FIRST
    assert len(plan.missing()) == 4
    play(world, sweep, store, monkeypatch)
    assert world.taken == order[5:]


def test_failed_points_are_left_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, store = World(), Store(tmp_path / "runs")
    world.broken = lambda config: config.objective.equivariance.weight == CLEAR
    outcome = play(world, declared(tmp_path), store, monkeypatch)
    assert seeds_of(outcome.plan) == ALL
    assert outcome.plan.counts() == {State.FINISHED: 20, State.FAILED: 3}
    assert outcome.plan.seeds
    assert "1 not compared, as trials failed" in outcome.plan.seeds.describe()


def test_a_stale_trial_holds_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, store = declared(tmp_path), Store(tmp_path / "runs")
    play(World(), sweep, store, monkeypatch)
    stale = next(trial for trial in make_plan(sweep, store).trials if trial.point[WEIGHT] == 0)
    shutil.rmtree(store.trial(stale.trial_id).path)
    fabricate(store, stale.config, State.FINISHED, 3, code="0" * 16)
    plan = make_plan(sweep, store)
    assert plan.seeds
    assert plan.seeds.choice.waiting
    assert not plan.missing()
    assert plan.counts()[State.STALE] == 1
    assert not plan.complete


def test_a_selection_is_a_part_of_the_seeds_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, store, world = declared(tmp_path), Store(tmp_path / "runs"), World()
    part = sweep.select(("λ=0.3",), "2")
    play(world, part, store, monkeypatch)
    assert len(world.taken) == 2
    assert seeds_of(make_plan(part, store)) == {CLEAR: [0, 1]}
    play(world, sweep, store, monkeypatch)
    assert len(world.taken) == 21
    assert seeds_of(make_plan(sweep.select(("λ=0",), None), store)) == {0: list(range(10))}


def test_trials_of_two_points_are_one_and_compared_once(tmp_path: Path) -> None:
    """At λ = 0 the number of splits changes nothing: each line has that baseline."""
    axes = {WEIGHT: [0, CLEAR], SPLITS: [4, 8]}
    plan = make_plan(declared(tmp_path, axes=axes), Store(tmp_path / "runs"))
    assert plan.seeds
    assert plan.seeds.compared == 2
    assert len(plan.unique()) == 9
    splits = make_plan(
        declared(tmp_path, axes={WEIGHT: [0], SPLITS: [4, 8]}), Store(tmp_path / "runs")
    )
    assert splits.seeds
    assert splits.seeds.compared == 0
    assert splits.seeds.may_grow == 0


def test_status_and_deletion_know_every_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, store = declared(tmp_path), Store(tmp_path / "runs")
    play(World(), sweep, store, monkeypatch)
    plan = make_plan(sweep, store)
    view = SweepReader(store.sweep("tiny"), store, Versions()).read()
    assert view.counts() == {State.FINISHED: 23}
    assert view.complete
    best = view.best().point
    assert best is not None
    assert best[1] == "λ=0.3"
    assert set(plan.unique()) < set(trial_configs(sweep, store))
    assert len(trial_configs(sweep, store)) == 30


def test_the_report_shows_the_comparisons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, store = declared(tmp_path), Store(tmp_path / "runs")
    play(World(), sweep, store, monkeypatch)
    page = write_sweep_report(sweep, store)
    text = page.read_text(encoding="utf-8")
    assert "Points are compared after 3, 5, 8, 10 seeds." in text
    assert "corrected over these 4 looks by Bonferroni and over the 2 points by Holm" in text
    line = (
        "Seeds: 3 to 10 a point until decided; 1 of 2 points decided, "
        "1 undecided with 10 seeds: λ=0.1."
    )
    assert line in text
    assert read_answer(page)[-1] == line
    best = "Best by γ_f, held out (smaller is better) is λ=0.3: 0.823 (± 0.025, n = 3), of 3 points"
    assert best in text, "the decided point has the fewest seeds, and is compared all the same"
    rows = pd.read_csv(page.parent / "tables" / "seeds.csv").to_dict("records")
    unclear, clear = sorted(rows, key=lambda row: float(row[WEIGHT]))
    assert (unclear["verdict"], clear["verdict"]) == ("undecided", "decided")
    assert (clear["seeds"], clear["pairs"]) == (3, 3)
    p = stats.ttest_1samp([-0.5, -0.51, -0.52], 0).pvalue
    assert clear["p"] == pytest.approx(p * 4 * 2)


def test_the_plan_says_what_may_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, store = declared(tmp_path), Store(tmp_path / "runs")
    arguments = SweepArguments(Path(sweep.source))
    plan_command(arguments, store.root, as_json=False)
    shown = capsys.readouterr().out
    assert "9 new\n" in shown
    assert (
        "seeds: 3 to 10 a point until decided; points are compared after 3, 5, 8, 10 seeds\n"
    ) in shown
    play(World(), sweep, store, monkeypatch)
    plan_command(arguments, store.root, as_json=False)
    assert (
        "seeds: 3 to 10 a point until decided; 1 of 2 points decided, "
        "1 undecided with 10 seeds: λ=0.1\n"
    ) in capsys.readouterr().out
    plan_command(arguments, store.root, as_json=True)
    read = json.loads(capsys.readouterr().out)["seeds"]
    assert (read["least"], read["most"], read["may_grow"]) == (3, 10, 0)
    assert read["looks"] == store.sweep("tiny").events()


Refused = Callable[..., Problem]


@pytest.mark.parametrize(
    ("changes", "field", "allowed"),
    [
        ({"seeds": {"least": 1}}, "seeds.least", "2 or more"),
        ({"seeds": {"least": 3, "most": 3}}, "seeds.most", "more than 'least', 3"),
        ({"seeds": {"most": 2000}}, "seeds.most", "at most 1000"),
        ({"seeds": {"until": "done"}}, "seeds.until", "decided"),
        ({"seeds": {"leest": 3}}, "seeds.leest", "seeds has least, most, until"),
        ({"scheduler": {"name": "asha"}}, "seeds.until", "without a scheduler"),
        ({"search": {"name": "optuna"}}, "seeds.until", "with a grid"),
        ({"axes": {WEIGHT: [0.1]}}, "seeds.until", "two points or more"),
    ],
)
def test_bad_seeds_are_refused(
    tmp_path: Path, refused: Refused, changes: dict[str, Any], field: str, allowed: str
) -> None:
    problem = refused(lambda: declared(tmp_path, **changes))
    assert problem.field == field
    assert allowed in problem.allowed


def test_on_a_real_ray(tmp_path: Path) -> None:
    """Points whose trials are equal are undecided, so all of them get the seeds that are left."""
    declare(
        tmp_path,
        axes={"evaluation.rotation_augmentations": [2, 3]},
        seeds={"least": 2, "most": 3},
        metric={"name": "encoder/knn_accuracy"},
        # after fewer steps they would count as collapsed, and would not be compared
        overrides={"training.epochs": 1, "data.train_images": 1437},
    )
    done = care("sweep", "run", "sweep.yaml", cwd=tmp_path)
    assert "1 undecided with 3 seeds" in done.stdout
    store = Store(tmp_path / "runs")
    assert [event["seeds"] for event in store.sweep("tiny").events()] == [2, 3]
    assert len(list(itertools.islice(store.all_trials(), 10))) == 6
    page = (store.sweep("tiny").report / "report.html").read_text(encoding="utf-8")
    assert "Seeds, added until decided" in page
