"""A search that is interrupted at any moment goes on as though it had not been."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from care.config import TrialConfig
from care.system.rng import generator
from care.trials.state import State
from sweeps.event_log import Suggestion, begin, read_decisions
from sweeps.plan import PlannedTrial
from sweeps.question import OtherQuestionError
from sweeps.spec.sweep import Sweep
from sweeps.store import SweepFolder, finite
from sweeps.tune.messages import Outcome, PackTask, TrialTask
from sweeps.tune.queue import TaskQueue
from sweeps.tune.retry import NextTry
from sweeps.tune.search import SearchedPoint, SearchedTrials, StudySearch
from sweeps.tune.study_space import StudySpace
from tests.helpers import messages
from tests.helpers.declaring import SPLITS, WEIGHT, load

METRIC = "heldout/gamma"
IN_FLIGHT = 2
POINTS = 14  # after 10 at random, TPE chooses by what it was told
Event = dict[str, Any]


def optuna_sweep(folder: Path, **changes: Any) -> Sweep:
    declared = {
        "axes": {WEIGHT: {"low": 1e-3, "high": 1, "log": True}, SPLITS: [4, 8, 16]},
        "seeds": 2,
        "search": {"name": "optuna", "trials": POINTS},
        "metric": {"name": METRIC, "mode": "min"},
        **changes,
    }
    return load(folder, **declared)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return optuna_sweep(tmp_path)


def measure(point: dict[str, Any], seed: int) -> float | None:
    """A metric with a best point; some seeds fail, one way or another."""
    luck = int(generator(seed, str(sorted(point.items()))).integers(8))
    if luck == 0:
        return None
    if luck == 1:
        return math.nan
    return float((math.log10(point[WEIGHT]) + 1.5) ** 2 + point[SPLITS] / 100 + seed / 10)


Results = dict[str, float | None]


def identity_of(point: dict[str, Any], seed: int) -> str:
    return f"{sorted(point.items())} {seed}"


def planned(point: dict[str, Any], seed: int, results: Results, tiny: TrialConfig) -> PlannedTrial:
    """A trial as the store knows it, which holds the results of all launches."""
    identity = identity_of(point, seed)
    state = State.NEW
    if identity in results:
        state = State.FAILED if results[identity] is None else State.FINISHED
    config = tiny.model_copy(update={"seed": seed})
    return PlannedTrial(identity, str(point), point, config, state)


def trial_in(suggested: Any) -> str:
    """Return the identity of the one trial that a search suggested."""
    (identity,) = PackTask.from_config(suggested).trial_ids
    return identity


NOT_OVER = (Outcome.PAUSED, Outcome.BUSY)


def queue() -> TaskQueue:
    """Trials that were paused or busy are tried again at once, lost ones never."""
    return TaskQueue(lambda _, outcome: NextTry(0, 1) if outcome in NOT_OVER else None)


class Driver:
    """Plays Ray Tune: keeps trials in flight and completes them in an order of its own.

    What a launch leaves is the sweep's log and the results, as a store has them.
    """

    def __init__(self, sweep: Sweep, path: Path, results: Results | None = None) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.sweep, self.folder = sweep, SweepFolder(path)
        self.results: Results = {} if results is None else results
        self.trained: dict[str, tuple[dict[str, Any], int]] = {}
        begin(self.folder, sweep)
        points = list(map(self._point, read_decisions(self.folder).suggestions))
        waiting = queue()
        new = [trial for point in points for trial in point.trials if trial.state == "new"]
        for trial in {trial.trial_id: trial for trial in new}.values():
            waiting.put(self._task(trial))
        trials = SearchedTrials(
            self._enter, lambda trial: finite(self.results[trial.trial_id]), self._task
        )
        self.search = StudySearch(sweep.spec, StudySpace(sweep.space), points, trials, waiting)
        self.flying: dict[str, str] = {}
        self._names = map(str, itertools.count())

    def _task(self, trial: PlannedTrial) -> TrialTask:
        self.trained[trial.trial_id] = (trial.point, trial.config.seed)
        return messages.task(trial.trial_id)

    def _enter(self, suggestion: Suggestion) -> SearchedPoint:
        self.folder.log(suggestion.record())
        return self._point(suggestion)

    def _point(self, suggestion: Suggestion) -> SearchedPoint:
        config = self.sweep.base_config()
        seeds = self.sweep.spec.all_seeds
        return SearchedPoint(
            suggestion,
            tuple(planned(suggestion.point, seed, self.results, config) for seed in seeds),
        )

    def complete(self, name: str, value: float | None) -> None:
        """A trial ended with a value, or failed."""
        (identity,) = self.search._queue.running(name).trial_ids
        self.results[identity] = value
        outcome = Outcome.FAILED if value is None else Outcome.FINISHED
        metrics = {} if value is None else {METRIC: value}
        self.search.on_trial_complete(name, messages.result({identity: outcome}, metrics))

    def fill(self) -> None:
        while len(self.flying) < IN_FLIGHT:
            name = next(self._names)
            suggested = self.search.suggest(name)
            if suggested is None or suggested == Searcher.FINISHED:
                return
            self.flying[name] = trial_in(suggested)

    def complete_one(self) -> None:
        """Which one depends on nothing but how many were completed before."""
        names = list(self.flying)
        name = names[int(generator(1, "completes", len(self.results)).integers(len(names)))]
        self.complete(name, measure(*self.trained[self.flying.pop(name)]))

    def run(self) -> Iterator[None]:
        """To the end; stops after everything that may have changed the log or the results."""
        self.fill()
        yield
        while self.flying:
            self.complete_one()
            yield
            self.fill()
            yield


def trials(search: StudySearch) -> list[tuple[int, dict[str, Any], TrialState, float | None]]:
    def key(trial: FrozenTrial) -> tuple[int, dict[str, Any], TrialState, float | None]:
        return trial.number, trial.params, trial.state, trial.value

    return [key(trial) for trial in search.study.trials]


@dataclass
class Moment:
    """All that a launch which ended now would leave, and the study that it had."""

    events: list[Event]
    results: Results
    study: list[Any]

    @classmethod
    def of(cls, driver: Driver) -> Moment:
        return cls(driver.folder.events(), dict(driver.results), trials(driver.search))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, list[Moment]]:
    """The sweep, and every moment of it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    sweep = optuna_sweep(folder)
    driver = Driver(sweep, folder / "log")
    moments = [Moment.of(driver)]
    moments += [Moment.of(driver) for _ in driver.run()]
    return sweep, moments


def test_the_play_has_what_a_real_search_has(undisturbed: tuple[Sweep, list[Moment]]) -> None:
    sweep, moments = undisturbed
    last = moments[-1]
    assert len(last.study) == POINTS
    assert {state for _, _, state, _ in last.study} == {TrialState.COMPLETE, TrialState.FAIL}
    assert [event["event"] for event in last.events] == ["question"] + ["suggest"] * POINTS
    assert len(last.results) == POINTS * len(sweep.spec.all_seeds)
    points = [tuple(params.items()) for _, params, _, _ in last.study]
    assert len(set(points)) == POINTS
    handed_out = [f"{sorted(dict(point).items())} {seed}" for point in points for seed in (0, 1)]
    assert list(last.results) != handed_out, "trials should overtake each other"


def test_interrupted_at_any_moment_it_goes_on_as_undisturbed(
    undisturbed: tuple[Sweep, list[Moment]], tmp_path: Path
) -> None:
    sweep, moments = undisturbed
    last = moments[-1]
    for number, moment in enumerate(moments):
        log = SweepFolder(tmp_path / str(number))
        log.path.mkdir()
        for event in moment.events:
            log.log(event)
        driver = Driver(sweep, log.path, dict(moment.results))
        assert trials(driver.search) == moment.study, f"rebuilt at moment {number}"
        assert log.events() == moment.events, "a start logs nothing"
        for _ in driver.run():
            pass
        assert log.events() == last.events, f"interrupted at moment {number}"
        assert trials(driver.search) == last.study


def test_interrupted_again_and_again(
    undisturbed: tuple[Sweep, list[Moment]], tmp_path: Path
) -> None:
    sweep, moments = undisturbed
    results: Results = {}
    for _ in moments:
        driver = Driver(sweep, tmp_path / "log", results)
        for _ in itertools.islice(driver.run(), 3):
            pass
    assert suggested(driver.folder) == [
        event for event in moments[-1].events if event["event"] == "suggest"
    ]
    assert trials(driver.search) == moments[-1].study


def suggested(folder: SweepFolder) -> list[Event]:
    return [event for event in folder.events() if event["event"] == "suggest"]


def test_optuna_gets_the_mean_over_seeds(sweep: Sweep, tmp_path: Path) -> None:
    driver = Driver(sweep, tmp_path / "log")
    search = driver.search
    assert search.suggest("a")
    assert search.suggest("b")
    driver.complete("b", 3.0)
    assert search.study.trials[0].state == TrialState.RUNNING
    driver.complete("a", 1.0)
    assert search.study.trials[0].value == 2.0
    assert search.study.study_name == "tiny"


FAILURES: list[Callable[[StudySearch], None]] = [
    lambda search: complete(search, Outcome.FAILED, {METRIC: 1.0}),
    lambda search: complete(search, Outcome.DISK_ERROR, {METRIC: 1.0}),
    lambda search: complete(search, Outcome.FINISHED, {METRIC: math.inf}),
    lambda search: complete(search, Outcome.FINISHED, {}),
    lambda search: complete(search, Outcome.RUNNING, {METRIC: 1.0}, error=True),
    lambda search: search.on_trial_complete("a", error=True),
]


def complete(
    search: StudySearch, outcome: Outcome, metrics: dict[str, Any], error: bool = False
) -> None:
    (identity,) = search._queue.running("a").trial_ids
    search.on_trial_complete("a", messages.result({identity: outcome}, metrics), error=error)


@pytest.mark.parametrize("fail", FAILURES)
def test_a_point_with_a_failed_seed_is_no_result(
    sweep: Sweep, tmp_path: Path, fail: Callable[[StudySearch], None]
) -> None:
    """The mean over the seeds that are left would compare unlike things."""
    driver = Driver(sweep, tmp_path / "log")
    driver.search.suggest("a")
    driver.search.suggest("b")
    fail(driver.search)
    driver.complete("b", 1.0)
    assert driver.search.study.trials[0].state == TrialState.FAIL


@pytest.mark.parametrize("outcome", NOT_OVER)
def test_a_trial_that_is_not_over_is_handed_out_again(
    sweep: Sweep, tmp_path: Path, outcome: Outcome
) -> None:
    first = Driver(sweep, tmp_path / "log").search
    handed_out = [trial_in(first.suggest(name)) for name in "ab"]
    complete(first, outcome, {})
    assert len(suggested(SweepFolder(tmp_path / "log"))) == 1
    assert trial_in(first.suggest("c")) == handed_out[0]
    second = Driver(sweep, tmp_path / "log").search
    assert [trial_in(second.suggest(name)) for name in "ab"] == handed_out


def test_more_seeds_are_run_for_the_points_there_are(sweep: Sweep, tmp_path: Path) -> None:
    driver = Driver(sweep, tmp_path / "log")
    for name in "ab":
        driver.search.suggest(name)
    for name in "ab":
        driver.complete(name, 1.0)
    point = driver.search.study.trials[0].params
    grown = Driver(optuna_sweep(tmp_path, seeds=3), tmp_path / "log", driver.results)
    assert trial_in(grown.search.suggest("c")) == identity_of(point, 2)
    grown.complete("c", 4.0)
    assert grown.search.study.trials[0].value == 2.0


def test_a_point_that_repeats_trains_nothing_again(tmp_path: Path) -> None:
    """A small space repeats, and at λ = 0 different points are one trial: all get their values."""
    sweep = optuna_sweep(tmp_path, axes={SPLITS: [4, 8]}, search={"name": "optuna", "trials": 9})
    driver = Driver(sweep, tmp_path / "log")
    handed_out: list[str] = []
    while isinstance(task := driver.search.suggest(str(len(handed_out))), dict):
        handed_out.append(trial_in(task))
        if len(handed_out) % 3 == 0:  # several are in flight when a point repeats
            for name in range(len(handed_out) - 3, len(handed_out)):
                driver.complete(str(name), 1.0 + name)
    for name in range(len(handed_out) // 3 * 3, len(handed_out)):
        driver.complete(str(name), 1.0 + name)
    while driver.search.suggest("over") != Searcher.FINISHED:
        pass
    assert sorted(handed_out) == sorted(set(handed_out)), "a trial was handed out twice"
    assert len(handed_out) == 2 * len(sweep.spec.all_seeds)
    study = driver.search.study.trials
    assert len(study) == 9
    assert {trial.state for trial in study} == {TrialState.COMPLETE}
    values = {trial.params[SPLITS]: trial.value for trial in study}
    assert all(trial.value == values[trial.params[SPLITS]] for trial in study)
    again = Driver(sweep, tmp_path / "log", driver.results)
    assert trials(again.search) == trials(driver.search)


@pytest.mark.parametrize(
    "changes",
    [
        {"axes": {WEIGHT: {"low": 1e-3, "high": 1, "log": True}}},
        {"axes": {WEIGHT: {"low": 1e-3, "high": 1, "log": True}, SPLITS: [2, 32]}},
        {"axes": {WEIGHT: {"low": 2.0, "high": 3.0}, SPLITS: [4, 8, 16]}},
        {"seeds": [1]},
        {"metric": {"name": "head/gamma", "mode": "min"}},
        {"metric": {"name": METRIC, "mode": "max"}},
        {"search": {"name": "optuna", "trials": POINTS, "seed": 1}},
        {"overrides": {"training.batch_size": 128}},
    ],
    ids=[
        "other axes",
        "other values",
        "other interval",
        "fewer seeds",
        "other metric",
        "other mode",
        "other sampler",
        "other base",
    ],
)
def test_another_search_under_the_same_name_is_refused(
    sweep: Sweep, tmp_path: Path, changes: dict[str, Any]
) -> None:
    driver = Driver(sweep, tmp_path / "log")
    for name in "ab":
        driver.search.suggest(name)
        driver.complete(name, 1.0)
    before = driver.folder.events()
    with pytest.raises(OtherQuestionError, match="this search began with"):
        Driver(optuna_sweep(tmp_path, **changes), tmp_path / "log")
    assert driver.folder.events() == before


def test_random_search_is_rebuilt_as_well(tmp_path: Path) -> None:
    search = {"name": "optuna", "trials": 6, "sampler": "random", "seed": 5}
    sweep = optuna_sweep(tmp_path, search=search)
    whole = Driver(sweep, tmp_path / "whole")
    for _ in whole.run():
        pass
    results: Results = {}
    for _ in range(10):
        parts = Driver(sweep, tmp_path / "parts", results)
        for _ in itertools.islice(parts.run(), 4):
            pass
    assert suggested(parts.folder) == suggested(whole.folder)
    other = Driver(optuna_sweep(tmp_path, search={**search, "seed": 6}), tmp_path / "other")
    other.fill()
    assert suggested(other.folder)[0] != suggested(whole.folder)[0]
