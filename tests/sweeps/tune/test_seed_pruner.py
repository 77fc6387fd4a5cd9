"""Wilcoxon's test over the seeds of a point: Optuna's decisions, made once, and shown."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import statistics
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from care.config import TrialConfig
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.account import Ending
from sweeps.cli.sweep_arguments import SweepArguments
from sweeps.cli.sweep_plan import plan_command
from sweeps.event_log import SeedEntry, read_decisions
from sweeps.inventory import SweepReader
from sweeps.plan import Plan, make_plan
from sweeps.report import read_answer, write_sweep_report
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from sweeps.tracking.answer import AnswerReader
from sweeps.tune.messages import TrialResult, TrialTask
from sweeps.tune.queue import TaskQueue
from sweeps.tune.retry import RetryPolicy
from sweeps.tune.search import DIRECTIONS
from sweeps.tune.seed_pruner import compare_with_best
from sweeps.tune.study_file import write_study
from tests.helpers import messages
from tests.helpers.declaring import WEIGHT, declare, load
from tests.helpers.playing import METRICS, Pool, World, play
from tests.helpers.processes import care, start_care, wait_for

GAMMA = METRICS[0]
SEEDS = 8
WILCOXON: dict[str, Any] = {
    "axes": {WEIGHT: [0.03, 0.1, 0.3, 1.0]},
    "seeds": SEEDS,
    "scheduler": {"name": "wilcoxon"},
    "metric": {"name": GAMMA, "mode": "min"},
    "resources": {"threads": 1},
}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def optunas_decision(
    own: dict[int, float],
    complete: list[list[float]],
    mode: Literal["max", "min"],
    p: float,
    least: int,
) -> bool:
    """Ask Optuna's pruner; its best trial has the values of the seeds that both have."""
    pruner = optuna.pruners.WilcoxonPruner(p_threshold=p, n_startup_steps=least)
    study = optuna.create_study(direction=DIRECTIONS[mode], pruner=pruner)
    for values in complete:
        known = {seed: values[seed] for seed in own}
        mean = statistics.fmean(values)
        study.add_trial(
            create_trial(state=TrialState.COMPLETE, value=mean, intermediate_values=known)
        )
    trial = study.ask()
    for seed, value in own.items():
        trial.report(value, seed)
    return bool(trial.should_prune())


# Few different values: ties and equal pairs are frequent, as with accuracies of a small test set.
VALUES = st.one_of(st.integers(0, 6).map(float), st.floats(-3, 3, allow_nan=False, width=16))


@settings(max_examples=150, deadline=None)
@given(
    complete=st.lists(st.lists(VALUES, min_size=8, max_size=8), min_size=1, max_size=4),
    own=st.dictionaries(st.integers(0, 7), VALUES, min_size=2, max_size=8),
    shift=st.sampled_from([0.0, 0.0, 1.0, -1.0]),
    mode=st.sampled_from(["max", "min"]),
    p=st.sampled_from([0.02, 0.0625, 0.1, 0.3, 0.5]),
    least=st.integers(2, 6),
)
def test_decisions_are_optunas(
    complete: list[list[float]],
    own: dict[int, float],
    shift: float,
    mode: Literal["max", "min"],
    p: float,
    least: int,
) -> None:
    own = {seed: value + shift for seed, value in own.items()}
    others = {str(name): dict(enumerate(values)) for name, values in enumerate(complete)}
    found = compare_with_best(own, others, mode, p, least)
    assert (found is None) == (len(own) < least)
    assert bool(found and found.stopped) == optunas_decision(own, complete, mode, p, least)


def numbers(config: TrialConfig, epoch: int) -> dict[str, float]:
    """λ = 0.1 is best; only a large λ is worse with every seed."""
    weight, seed = config.objective.equivariance.weight, config.seed
    far = abs(weight - 0.1)
    crossing = 0.25 * (-1) ** (seed + 1) if weight < 0.5 and weight != 0.1 else 0.0
    value = 1 + far / 1000 + crossing + 0.3 * ((7 * seed) % 5) + 1 / epoch
    return {GAMMA: value, "heldout/uniformity": 0.1}


@pytest.fixture(autouse=True)
def _values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.helpers.playing.numbers", numbers)


def finished(plan: Plan) -> dict[float, int]:
    counts: dict[float, int] = {}
    for trial in plan.trials:
        weight = trial.point[WEIGHT]
        counts[weight] = counts.get(weight, 0) + (trial.state == State.FINISHED)
    return counts


def entries(store: Store) -> tuple[SeedEntry, ...]:
    return read_decisions(store.sweep("tiny")).seeds


def check_entries(sweep: Sweep, store: Store) -> None:
    """Each decision follows from the values that it names, which the store has; none is twice."""
    spec = sweep.spec
    decided = [(entry.group_id, entry.seed) for entry in entries(store)]
    assert len(set(decided)) == len(decided), "a decision was made twice"
    trials = {
        (json.dumps(t.point), t.config.seed): numbers(t.config, t.config.training.epochs)[GAMMA]
        for t in make_plan(sweep, store).trials
    }
    for entry in entries(store):
        own = dict(zip(entry.seeds, entry.values, strict=True))
        assert own == {seed: trials[json.dumps(entry.point), seed] for seed in own}
        if entry.best is None:
            assert not entry.stopped
            continue
        best = dict(zip(entry.seeds, entry.best_values, strict=True))
        assert best == {seed: trials[json.dumps(entry.best), seed] for seed in best}
        rule = spec.scheduler
        found = compare_with_best(own, {"best": best}, spec.metric.mode, rule.p, rule.least_seeds)
        assert found
        assert (found.p, found.stopped) == (entry.p, entry.stopped)


SEARCHES: dict[str, dict[str, Any]] = {
    "grid": {},
    "racing": {"order": "seeds"},
    "design": {
        "axes": {WEIGHT: {"low": 0.03, "high": 1.0, "log": True}},
        "search": {"name": "sobol", "trials": 5},
    },
    "optuna": {
        "axes": {WEIGHT: {"low": 0.03, "high": 1.0, "log": True}},
        "search": {"name": "optuna", "trials": 7, "seed": 1},
    },
}


@pytest.mark.parametrize("search", SEARCHES)
def test_worse_points_get_no_further_seed(
    search: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = load(tmp_path, **{**WILCOXON, **SEARCHES[search]})
    store, world = Store(tmp_path / "runs"), World()
    outcome = play(world, sweep, store, monkeypatch)
    assert outcome.complete
    counts = finished(outcome.plan)
    stopped = outcome.plan.counts()[State.STOPPED]
    assert stopped
    assert SEEDS in counts.values()
    assert min(counts.values()) >= 4
    assert sum(counts.values()) + stopped == outcome.plan.wanted
    assert set(world.taken) == {t.trial_id for t in outcome.plan.trials if t.state == "finished"}
    check_entries(sweep, store)

    before = store.sweep("tiny").events()
    assert play(world, sweep, store, monkeypatch).complete
    assert not world.taken
    assert store.sweep("tiny").events() == before


def test_grid_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plan, status, report, MLflow's page and the study's file say it; the best has all seeds."""
    sweep, store = load(tmp_path, **WILCOXON), Store(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    plan = play(World(), sweep, store, monkeypatch).plan
    assert finished(plan) == {0.03: 8, 0.1: 8, 0.3: 8, 1.0: 4}
    line = "λ=1: 4 of 8 seeds: worse than λ=0.1, Wilcoxon p = 0.062"
    plan_command(SweepArguments(Path("sweep.yaml")), store.root, as_json=False)
    assert line in capsys.readouterr().out
    view = SweepReader(store.sweep("tiny"), store, Versions()).read()
    assert view.remarks() == [line]
    assert view.counts() == {State.FINISHED: 28, State.STOPPED: 4}
    assert view.complete
    assert len(view.best().seeds) == 8
    page = write_sweep_report(sweep, store)
    assert f"Stopped early: {line}." in page.read_text()
    assert "tends to be too bad" in page.read_text()
    answer = "\n".join(read_answer(page))
    assert "Best by" in answer
    assert "Worse, so stopped after fewer seeds: λ=1." in answer
    shown = AnswerReader(store).read(plan, {}, {}, Ending())
    assert shown.stopped == (line,)
    assert shown.overview
    write_study(sweep, store, tmp_path / "study.db")
    loaded = optuna.load_study(study_name="tiny", storage=f"sqlite:///{tmp_path / 'study.db'}")
    study = {trial.user_attrs["point"]: trial for trial in loaded.trials}
    assert study["λ=1"].state == TrialState.PRUNED
    own = [numbers(t.config, 3)[GAMMA] for t in plan.trials if t.point[WEIGHT] == 1.0]
    assert study["λ=1"].value == pytest.approx(statistics.fmean(own[:4]))
    assert study["λ=1"].user_attrs["stopped"] == "worse than λ=0.1, Wilcoxon p = 0.062"
    assert study["λ=0.1"].state == TrialState.COMPLETE


class Killed(BaseException):
    """Ends a launch as a kill does, between two results."""


def killed_after(results: int, patch: pytest.MonkeyPatch) -> None:
    """End the launch once this many results have been passed on."""
    train, left = World.train, [results]

    def until_killed(world: World, task: TrialTask) -> Iterator[TrialResult]:
        for result in train(world, task):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            yield result

    patch.setattr(World, "train", until_killed)


def decisions_after_kills(
    folder: Path, slots: int, kills: list[int], changes: dict[str, Any]
) -> tuple[list[dict[str, Any]], Store]:
    """Run a sweep, each launch killed after a number of results, and the last one to its end."""
    sweep, store = load(folder, **{**WILCOXON, **changes}), Store(folder / "runs")
    for results in [*kills, -1]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Pool, "slots", slots)
            killed_after(results, patch)
            try:
                outcome = play(World(), sweep, store, patch)
            except Killed:
                continue
            assert outcome.complete
            check_entries(sweep, store)
            lines = [entry.record() | {"trials": [*entry.trials]} for entry in entries(store)]
            return lines, store
    raise AssertionError("the last launch is not killed")


@pytest.mark.parametrize("search", ["grid", "racing", "optuna"])
def test_kills_change_no_decision(search: str, tmp_path: Path) -> None:
    """With one trial at a time, trials end in the order of an undisturbed run."""
    (tmp_path / "whole").mkdir()
    whole, _ = decisions_after_kills(tmp_path / "whole", 1, [], SEARCHES[search])
    assert any(line["stopped"] for line in whole)
    dice = random.Random(search)
    for turn in range(2):
        folder = tmp_path / str(turn)
        folder.mkdir()
        kills = [dice.randrange(25) for _ in range(5)]
        assert decisions_after_kills(folder, 1, kills, SEARCHES[search])[0] == whole, kills


def test_several_at_a_time_and_killed(tmp_path: Path) -> None:
    dice = random.Random(5)
    stopped = 0
    for turn, slots in enumerate((2, 3, 7)):  # with 7, most seeds run before a point is judged
        folder = tmp_path / str(turn)
        folder.mkdir()
        kills = [dice.randrange(1, 30) for _ in range(4)]
        lines, _ = decisions_after_kills(folder, slots, kills, {})
        stopped += sum(line["stopped"] for line in lines)
    assert stopped


def test_a_deleted_value_voids_the_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, store, world = load(tmp_path, **WILCOXON), Store(tmp_path / "runs"), World()
    plan = play(world, sweep, store, monkeypatch).plan
    removed = next(t for t in plan.trials if t.point[WEIGHT] == 1.0)
    shutil.rmtree(store.trial(removed.trial_id).path)
    assert make_plan(sweep, store).counts() == {State.FINISHED: 27, State.NEW: 5}
    again = play(world, sweep, store, monkeypatch)
    assert again.complete
    assert removed.trial_id in world.taken
    assert finished(again.plan)[1.0] in (4, 5), "another seed starts beside it, or not"


def test_more_seeds_of_a_stopped_point_are_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, world = Store(tmp_path / "runs"), World()
    play(world, load(tmp_path, **WILCOXON), store, monkeypatch)
    more = play(world, load(tmp_path, **{**WILCOXON, "seeds": 10}), store, monkeypatch)
    assert more.complete
    assert finished(more.plan) == {0.03: 10, 0.1: 10, 0.3: 10, 1.0: 4}
    assert len(world.taken) == 6


class Order:
    """A pruner that stops nothing, where seeds of a point wait for each other after four."""

    def __init__(self, stopped: str = "") -> None:
        self.handed: dict[str, int] = {}
        self.stopped = stopped

    def should_wait(self, trial_id: str) -> bool:
        return self.handed.get(trial_id[0], 0) >= 2

    def admit(self, trial_id: str) -> bool:
        if trial_id[0] == self.stopped and int(trial_id[1]) >= 2:
            return False
        self.handed[trial_id[0]] = self.handed.get(trial_id[0], 0) + 1
        return True

    def is_stopped(self, trial_id: str) -> bool:
        return trial_id[0] == self.stopped

    def end(self, trial_id: str, *, finished: bool) -> None:
        self.handed[trial_id[0]] -= 1


def handed_out(queue: TaskQueue) -> list[list[str]]:
    packs: list[list[str]] = []
    while task := queue.take(str(len(packs))):
        packs.append(task.trial_ids)
    return packs


def test_seeds_that_may_still_be_stopped_come_after_other_points() -> None:
    queue = TaskQueue(RetryPolicy(0, 1))
    queue.pruner = Order()
    for name in ("a0", "a1", "a2", "b0", "b1", "b2"):
        queue.put(messages.task(name))
    assert handed_out(queue) == [["a0"], ["a1"], ["b0"], ["b1"], ["a2"], ["b2"]]


def test_a_pack_has_only_points_that_go_on() -> None:
    queue = TaskQueue(RetryPolicy(0, 1), pack=3)
    queue.pruner = Order(stopped="b")
    dropped: list[str] = []
    queue.on_stop.append(dropped.append)
    for seed in range(4):
        for point in "abc":
            queue.put(messages.task(f"{point}{seed}", batch_key=str(seed)))
    packs = handed_out(queue)
    assert packs[:2] == [["a0", "b0", "c0"], ["a1", "b1", "c1"]]
    assert packs[2:] == [["a2"], ["c2"], ["a3"], ["c3"]], "one after another: all of them wait"
    assert sorted(dropped) == ["b2", "b3"]


REAL = {
    "axes": {WEIGHT: [0.01, 1.0, 3.0]},
    "seeds": 5,
    "scheduler": {"name": "wilcoxon", "p": 0.2, "least_seeds": 3},
    "metric": {"name": "train/loss", "mode": "min"},
    "overrides": {"training.epochs": 1, "evaluation.monitor.measures": ["gamma"]},
}
RUN = ("sweep", "run", "sweep.yaml", "--no-report")


def test_killed_on_a_real_ray(tmp_path: Path) -> None:
    """A larger λ adds more to the loss. Packs are on: trials of one seed share a process."""
    declare(tmp_path, **REAL)
    log = tmp_path / "runs" / "sweeps" / "tiny" / "events.jsonl"

    def decided() -> list[dict[str, Any]]:
        lines = log.read_text().splitlines() if log.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("}")]
        return [event for event in events if event["event"] == "seed"]

    run = start_care(*RUN, cwd=tmp_path)
    wait_for(lambda: any(event["stopped"] for event in decided()))
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=60)
    before = decided()

    done = care(*RUN, cwd=tmp_path)
    after = decided()
    assert after[: len(before)] == before
    keys = [(event["group_id"], event["seed"]) for event in after]
    assert len(set(keys)) == len(keys)
    counts = json.loads(care("sweep", "plan", "sweep.yaml", "--json", cwd=tmp_path).stdout)
    assert counts["finished"] + counts["stopped"] == 15
    assert counts["stopped"] >= 2
    assert "of 5 seeds: worse than λ=0.01, Wilcoxon p = 0.12" in done.stdout
    assert len(list((tmp_path / "runs" / "trials").iterdir())) == counts["finished"]
