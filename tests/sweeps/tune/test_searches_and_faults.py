"""Every search and scheduler × everything that may happen to a sweep between two runs."""

from __future__ import annotations

import io
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from care.errors import CareError, ConfigError
from care.system.claim import Claim
from care.trials.state import State
from sweeps.cli.cluster import parse_workers, submit_command
from sweeps.cli.sweep import check_question, conclude
from sweeps.cli.sweep_arguments import SweepArguments
from sweeps.event_log import read_decisions
from sweeps.plan import PlannedTrial, make_plan
from sweeps.question import OtherQuestionError
from sweeps.report import write_sweep_report
from sweeps.run import RunOptions, SweepResult
from sweeps.spec.sweep import Sweep
from sweeps.store import Store, final_value
from tests.helpers.declaring import WEIGHT, load
from tests.helpers.playing import METRICS, World, decided, numbers, play

GAMMA, LOSS = METRICS
OPTUNA: dict[str, Any] = {
    "axes": {WEIGHT: {"low": 0.01, "high": 1.0, "log": True}},
    "search": {"name": "optuna", "trials": 5},
}
GRID: dict[str, Any] = {"axes": {WEIGHT: [0.01, 0.1, 0.3, 1.0]}}
ASHA = {"scheduler": {"name": "asha", "grace_epochs": 1, "reduction_factor": 2}}
SEARCHES = {
    "grid": GRID,
    "optuna": OPTUNA,
    "asha": {**GRID, **ASHA},
    "optuna and asha": {**OPTUNA, **ASHA},
    "hyperband": {**GRID, "scheduler": {"name": "hyperband", "reduction_factor": 2}},
    "median": {**GRID, "scheduler": {"name": "median", "least_trials": 2}},
}
OTHER_CODE = "0" * 16


DATA = {"data.train_images": 1437}
"""With fewer images the schedulers end none of these trials."""


class Scenario:
    """A sweep that was run once, in a store of its own."""

    def __init__(self, folder: Path, search: str, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.search, self._patch = folder, search, patch
        self.world, self.store = World(), Store(folder / "runs")
        self.sweep = self.declare()

    @property
    def searched(self) -> bool:
        return self.search != "grid"

    @property
    def optuna(self) -> bool:
        return "optuna" in self.search

    def declare(self, **changes: Any) -> Sweep:
        declared = {
            "metric": {"name": GAMMA, "mode": "min"},
            "resources": {"threads": 1},
            "overrides": DATA,
            **SEARCHES[self.search],
            **changes,
        }
        return load(self.folder, **declared)

    def run(
        self,
        sweep: Sweep | None = None,
        *,
        retry_failed: bool = False,
        rerun_stale: bool = False,
        restart_search: bool = False,
    ) -> SweepResult:
        """Run to the end, then check that the decisions rest on what the store holds now."""
        sweep = sweep or self.sweep
        options = RunOptions(retry_failed, rerun_stale, restart_search=restart_search)
        outcome = play(self.world, sweep, self.store, self._patch, options)
        study, rungs = decided(sweep, self.store)
        _check_study(sweep, self.store, study)
        _check_rungs(sweep, self.store, rungs)
        return outcome

    def trials(self, state: str) -> list[PlannedTrial]:
        plan = make_plan(self.sweep, self.store)
        return [trial for trial in plan.unique().values() if trial.state == state]

    def events(self) -> list[dict[str, Any]]:
        return self.store.sweep("tiny").events()

    def suggestions(self) -> list[Any]:
        return list(read_decisions(self.store.sweep("tiny")).suggestions)

    def content(self) -> dict[Path, bytes]:
        files = (path for path in self.store.root.rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in files if "claim" not in path.name}

    def refused(self, sweep: Sweep, *fields: str) -> None:
        """``sweep`` is planned with the difference shown, and not run; nothing is written."""
        plan = make_plan(sweep, self.store)
        assert [found.field for found in plan.differences] == list(fields)
        before = self.content()
        with pytest.raises(OtherQuestionError) as caught:
            self.run(sweep)
        for text in (*fields, "a new 'name'", "--restart-search"):
            assert text in str(caught.value)
        assert self.content() == before


def _check_study(sweep: Sweep, store: Store, study: list[Any]) -> None:
    """Each point has the mean over its seeds, at the end of each or where ASHA stopped it."""
    values: dict[str, float | None] = {}
    for trial in make_plan(sweep, store).trials:
        stopped = read_decisions(store.sweep("tiny")).stopped().get(trial.trial_id)
        if trial.state == "finished":
            expected = numbers(trial.config, trial.config.training.epochs)[sweep.spec.metric.name]
            assert final_value(store.trial(trial.trial_id), sweep.spec.metric.name) == expected
            values[trial.label] = expected
        elif trial.state == "stopped" and stopped:
            values[trial.label] = numbers(trial.config, stopped.epoch)[sweep.spec.metric.name]
        else:
            values[trial.label] = None
    labels, seeds = list(values), len(sweep.spec.all_seeds)
    for place, (_, state, value) in enumerate(study):
        of_point = [values[label] for label in labels[place * seeds : (place + 1) * seeds]]
        known = [found for found in of_point if found is not None]
        if len(known) == seeds:
            assert (state, value) == ("COMPLETE", pytest.approx(statistics.fmean(known)))
        else:
            assert state in ("FAIL", "RUNNING")


def _check_rungs(sweep: Sweep, store: Store, rungs: list[Any]) -> None:
    """Each entry is what its trial has at that epoch; every trial that counts is in the first."""
    trials = make_plan(sweep, store).unique()
    for milestone, values in rungs:
        for identity, value in values.items():
            expected = numbers(trials[identity].config, int(milestone))[sweep.spec.metric.name]
            assert value == -expected
    counted = {identity for identity, trial in trials.items() if trial.state != "stale"}
    if rungs:
        assert {identity for _, values in rungs for identity in values} == counted


@pytest.fixture(params=SEARCHES, scope="module")
def search(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scenario(search: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """A sweep that was not run yet."""
    return Scenario(tmp_path, search, monkeypatch)


@pytest.fixture(scope="module")
def after_a_run(search: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ran")
    with pytest.MonkeyPatch.context() as patch:
        scenario = Scenario(folder, search, patch)
        assert scenario.run().complete
        assert bool(scenario.trials("stopped")) == ("scheduler" in SEARCHES[search])
        assert scenario.trials("finished")
    return folder


@pytest.fixture
def ran(after_a_run: Path, scenario: Scenario) -> Scenario:
    """A sweep that was run to its end, with some trials stopped where there is a scheduler."""
    shutil.copytree(after_a_run, scenario.folder, dirs_exist_ok=True)
    scenario.store.prepare()  # notes that it is a copy
    return scenario


def test_finished(ran: Scenario) -> None:
    before = ran.events()
    assert ran.run().complete
    assert ran.world.trained == []
    assert ran.events() == before
    assert bool(before) == ran.searched


def test_failed(scenario: Scenario) -> None:
    """It fails for good; asked for, it is retried, goes on from where it was, and counts."""
    broken: list[str] = []

    def breaks(config: Any) -> bool:
        key = f"{config.objective.equivariance.weight} {config.seed}"
        if not broken:
            broken.append(key)
        return broken == [key]

    scenario.world.broken = breaks
    assert not scenario.run().complete
    (failed,) = scenario.trials("failed")
    assert failed.reason == "broke"
    assert not scenario.run().complete
    assert scenario.world.trained == [], "it is not retried unasked"
    suggested = scenario.suggestions()

    scenario.world.broken = lambda _: False
    assert scenario.run(retry_failed=True).complete
    assert scenario.world.trained == [failed.trial_id]
    assert scenario.suggestions() == suggested
    assert scenario.run().complete
    assert scenario.world.trained == []


def test_stale(ran: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of other code count for nothing, and are replaced when that is asked for."""
    all_trials = make_plan(ran.sweep, ran.store).unique()
    monkeypatch.setattr("care.trials.staleness.code_version", lambda: OTHER_CODE)
    assert {trial.state for trial in make_plan(ran.sweep, ran.store).trials} == {"stale"}
    assert not ran.run().complete
    assert ran.world.trained == []
    study, rungs = decided(ran.sweep, ran.store)
    assert {state for _, state, _ in study} <= {"RUNNING"}, "a value of other code counts"
    assert not any(values for _, values in rungs)

    assert ran.run(rerun_stale=True).complete
    assert set(ran.world.trained) == set(all_trials)
    assert ran.run().complete
    assert ran.world.trained == []
    rest_on = [ran.store.trial(identity).read_provenance() for identity in all_trials]
    assert {found.code_version for found in rest_on if found} == {OTHER_CODE}


def _delete(scenario: Scenario, trial: PlannedTrial) -> None:
    shutil.rmtree(scenario.store.trial(trial.trial_id).path)


def _archive(scenario: Scenario, trial: PlannedTrial) -> None:
    assert scenario.store.archive(trial.trial_id)


@pytest.mark.parametrize("remove", [_delete, _archive])
@pytest.mark.parametrize("state", ["finished", "stopped"])
def test_deleted_and_archived(
    ran: Scenario, remove: Callable[[Scenario, PlannedTrial], None], state: str
) -> None:
    """What is no longer there is new, is run, and is no part of a decision meanwhile."""
    suggested = ran.suggestions()
    removed = next(iter(ran.trials(state)), ran.trials("finished")[0])
    remove(ran, removed)
    assert [trial.trial_id for trial in ran.trials("new")] == [removed.trial_id]
    _, rungs = decided(ran.sweep, ran.store)
    assert not any(removed.trial_id in values for _, values in rungs)
    assert ran.run().complete
    assert ran.world.trained == [removed.trial_id]
    assert ran.suggestions() == suggested


def test_changed_metric(ran: Scenario) -> None:
    """Finished trials have both metrics; what one of them decided says nothing about the other."""
    finished = {trial.trial_id for trial in ran.trials("finished")}
    changed = ran.declare(metric={"name": LOSS, "mode": "min"})
    if not ran.searched:
        assert ran.run(changed).complete
        assert ran.world.trained == []
        return
    ran.refused(changed, "metric.name")
    before = ran.events()
    assert ran.run(changed, restart_search=True).complete
    assert ran.events()[: len(before)] == before, "nothing is deleted"
    assert not finished & set(ran.world.trained), "a finished trial is trained again"
    question = read_decisions(ran.store.sweep("tiny")).question
    assert question
    assert question.settings["metric.name"] == LOSS
    assert ran.run(changed).complete
    assert ran.world.trained == []
    ran.refused(ran.sweep, "metric.name")


def test_changed_base(ran: Scenario) -> None:
    changed = ran.declare(overrides={**DATA, "training.batch_size": 128, "training.epochs": 4})
    if ran.searched:
        ran.refused(changed, "training.batch_size", "training.epochs")
    assert ran.run(changed, restart_search=ran.searched).complete
    assert set(ran.world.trained) == set(make_plan(changed, ran.store).unique())
    assert ran.run(changed).complete
    assert ran.world.trained == []


def test_changed_axes(ran: Scenario) -> None:
    """A grid grows; a space of Optuna's is another one."""
    if ran.optuna:
        changed = ran.declare(axes={WEIGHT: {"low": 0.01, "high": 2.0, "log": True}})
        ran.refused(changed, f"axes.{WEIGHT}")
        assert ran.run(changed, restart_search=True).complete
        return
    more = ran.declare(axes={WEIGHT: [0.01, 0.1, 0.3, 1.0, 2.0]})
    assert ran.run(more).complete
    assert {trial_weight(ran.store, name) for name in ran.world.trained} == {2.0}
    if ran.searched:
        ran.refused(ran.sweep, f"axes.{WEIGHT}")
    assert ran.run(ran.sweep, restart_search=ran.searched).complete


def trial_weight(store: Store, identity: str) -> float:
    return float(config_of(store, identity)["objective"]["equivariance"]["weight"])


def config_of(store: Store, identity: str) -> dict[str, Any]:
    trial = store.trial(identity).read_trial()
    assert trial
    return trial.config


def test_changed_seeds(ran: Scenario) -> None:
    suggested = ran.suggestions()
    more = ran.declare(seeds=3)
    assert ran.run(more).complete
    seeds = [config_of(ran.store, name)["seed"] for name in ran.world.trained]
    assert seeds == [2] * len(points_of(ran))
    assert ran.suggestions() == suggested
    fewer = ran.declare(seeds=[1, 2])
    if ran.searched:
        ran.refused(fewer, "seeds")
    assert ran.run(fewer, restart_search=ran.searched).complete


def points_of(scenario: Scenario) -> list[Any]:
    return scenario.suggestions() if scenario.optuna else GRID["axes"][WEIGHT]


def test_changed_trials(ran: Scenario) -> None:
    """More points go on from those that are there; fewer are fewer, and come back."""
    if not ran.optuna:
        return
    suggested, before = ran.suggestions(), set(make_plan(ran.sweep, ran.store).unique())
    more = ran.declare(search={"name": "optuna", "trials": 8})
    assert ran.run(more).complete
    assert ran.suggestions()[:5] == suggested
    assert len(ran.suggestions()) == 8
    assert not before & set(ran.world.trained)
    fewer = ran.declare(search={"name": "optuna", "trials": 3})
    outcome = ran.run(fewer)
    assert outcome.complete
    assert (ran.world.trained, outcome.plan.wanted) == ([], 6)
    assert ran.run(more).complete
    assert ran.world.trained == []


def test_restarted_without_need(ran: Scenario) -> None:
    """The search makes the same points again and trains none of them."""
    if not ran.searched:
        return
    suggested, finished = ran.suggestions(), {trial.trial_id for trial in ran.trials("finished")}
    assert ran.run(restart_search=True).complete
    assert not finished & set(ran.world.trained)
    assert ran.suggestions()[0] == suggested[0] if ran.optuna else not suggested


def test_a_log_without_a_question(ran: Scenario) -> None:
    """Nobody knows what an older version's decisions were about."""
    if not ran.searched:
        return
    log = ran.store.sweep("tiny")
    lines = [event for event in ran.events() if event["event"] != "question"]
    (log.path / "events.jsonl").unlink()
    for event in lines:
        log.log(event)
    ran.refused(ran.sweep, "name")
    assert ran.run(restart_search=True).complete


def test_a_trial_of_two_sweeps_is_stopped_in_one(ran: Scenario) -> None:
    stopped = {trial.trial_id for trial in ran.trials("stopped")}
    other = ran.declare(name="other", scheduler=None, search=None, axes=GRID["axes"])
    plan = make_plan(other, ran.store)
    shared = stopped & set(plan.unique())
    assert plan.counts()[State.STOPPED] == 0
    assert {trial.trial_id for trial in plan.missing()} >= shared
    play(ran.world, other, ran.store, ran._patch)
    assert shared <= set(ran.world.trained)
    assert not shared & {trial.trial_id for trial in ran.trials("stopped")}
    assert ran.run().complete
    assert ran.world.trained == []


def test_nothing_to_compare_by(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that finish without the sweep's metric are finished, but answer no search."""
    monkeypatch.setattr("tests.helpers.playing.METRICS", (LOSS, "head/gamma"))
    outcome = play(scenario.world, scenario.sweep, scenario.store, scenario._patch)
    assert outcome.complete
    assert outcome.without_value == outcome.plan.counts()[State.FINISHED] == outcome.plan.wanted
    console = Console(file=io.StringIO(), width=200)
    assert conclude(console, "care sweep run sweep.yaml", outcome, None) == int(scenario.searched)
    assert f"have no finite {GAMMA}" in console.file.getvalue()  # type: ignore[attr-defined]
    study, rungs = decided(scenario.sweep, scenario.store)
    assert {state for _, state, _ in study} <= {"FAIL"}
    assert not any(values for _, values in rungs)
    play(scenario.world, scenario.sweep, scenario.store, scenario._patch)
    assert scenario.world.trained == []


def test_a_report_does_not_mix_questions(ran: Scenario) -> None:
    """The points and states of a search are not shown under another metric."""
    changed = ran.declare(metric={"name": LOSS, "mode": "min"})
    if not ran.searched:
        return
    with pytest.raises(OtherQuestionError, match=r"metric.name: got 'train/loss'"):
        write_sweep_report(changed, ran.store)


def test_submit_refuses_before_it_attaches(ran: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever changed the question would watch the jobs of the one before."""
    for check in ("_check_slurm", "check_cluster", "_check_shared", "_check_trials"):
        monkeypatch.setattr(f"sweeps.cli.cluster.{check}", lambda *_: None)
    monkeypatch.setattr("sweeps.cli.cluster.load_cluster", lambda _: None)
    monkeypatch.setattr("sweeps.backends.slurm.commands.partitions", dict)
    monkeypatch.setattr("sweeps.cli.cluster._is_running", lambda _: True)
    ran.declare(metric={"name": LOSS, "mode": "min"})
    if not ran.searched:
        return

    def submit(options: RunOptions) -> int:
        file = ran.folder / "sweep.yaml"
        workers = parse_workers("1")
        return submit_command(
            SweepArguments(file), ran.store.root, Path("cluster.yaml"), workers, "job", options
        )

    before = ran.content()
    with pytest.raises(OtherQuestionError, match=r"care sweep submit .* --restart-search"):
        submit(RunOptions())
    with pytest.raises(CareError, match="cannot be restarted meanwhile"):
        submit(RunOptions(restart_search=True))
    assert ran.content() == before


def test_a_search_that_is_being_run_is_not_restarted(ran: Scenario) -> None:
    if not ran.searched:
        with pytest.raises(ConfigError, match="--restart-search: got True; allowed for a sweep"):
            check_question(make_plan(ran.sweep, ran.store), "", RunOptions(restart_search=True))
        return
    before = ran.content()
    with Claim.take(ran.store.sweep("tiny").path) or pytest.fail("not free"):
        with pytest.raises(CareError, match="is being run by process"):
            ran.run(restart_search=True)
        assert ran.content() == before
