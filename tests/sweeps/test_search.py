"""A search that is interrupted after any of its events goes on as though it had not been."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from care.errors import ConfigError
from care.randomness import generator
from sweeps.launch.retry import Again
from sweeps.launch.tasks import TaskQueue
from sweeps.search import StudySearch
from sweeps.spec import Sweep
from sweeps.store import SweepFolder
from tests.sweeps.declaring import SPLITS, WEIGHT, load

METRIC = "heldout/gamma"
IN_FLIGHT = 2
POINTS = 14  # after 10 at random, TPE chooses by what it was told
Event = dict[str, Any]
Pair = tuple[int, int]


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


def task(point: dict[str, Any], seed: int) -> dict[str, Any]:
    return {"trial_id": f"{point} {seed}", "p": point, "s": seed}


def queue() -> TaskQueue:
    """Trials that were paused or busy are tried again at once, lost ones never."""
    return TaskQueue(lambda _, outcome: Again(0, 1) if outcome in ("paused", "busy") else None)


class Driver:
    """Plays Ray Tune: keeps trials in flight and completes them in an order of its own."""

    def __init__(self, sweep: Sweep, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.folder = SweepFolder(path)
        self.search = StudySearch(sweep, self.folder, task, queue())
        self.flying: dict[str, tuple[dict[str, Any], int]] = {}
        self._names = map(str, itertools.count())

    def fill(self) -> None:
        while len(self.flying) < IN_FLIGHT:
            name = next(self._names)
            task = self.search.suggest(name)
            if task is None or task == Searcher.FINISHED:
                return
            assert isinstance(task, dict)
            self.flying[name] = (task["p"], task["s"])

    def complete_one(self) -> None:
        """Which one depends on nothing but how many were completed before."""
        told = sum(event["event"] == "value" for event in self.folder.events())
        names = list(self.flying)
        name = names[int(generator(1, "completes", told).integers(len(names)))]
        point, seed = self.flying.pop(name)
        value = measure(point, seed)
        if value is None:
            self.search.on_trial_complete(name, {"outcome": "failed", "error": "broke"})
        else:
            self.search.on_trial_complete(name, {"outcome": "finished", METRIC: value})

    def run(self) -> Iterator[None]:
        """To the end; stops after everything that may have logged an event."""
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


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Sweep, list[Event], list[Any], dict[int, list[Any]]]:
    """The sweep, its events, its trials at the end, and its trials after n events."""
    folder = tmp_path_factory.mktemp("undisturbed")
    sweep = optuna_sweep(folder)
    driver = Driver(sweep, folder / "log")
    after: dict[int, list[Any]] = {0: []}
    for _ in driver.run():
        after[len(driver.folder.events())] = trials(driver.search)
    return sweep, driver.folder.events(), trials(driver.search), after


def test_the_play_has_what_a_real_search_has(
    undisturbed: tuple[Sweep, list[Event], list[Any], dict[int, list[Any]]],
) -> None:
    sweep, events, last, after = undisturbed
    assert len(last) == POINTS
    assert {state for _, _, state, _ in last} == {TrialState.COMPLETE, TrialState.FAIL}
    assert len(events) == POINTS * (1 + len(sweep.spec.seeds))
    assert len(after) > len(events) / 2
    order = [(event["number"], event["seed"]) for event in events if event["event"] == "value"]
    assert order != sorted(order), "trials should overtake each other"
    points = [tuple(params.items()) for _, params, _, _ in last]
    assert len(set(points)) == POINTS


def test_interrupted_after_any_event_it_goes_on_as_undisturbed(
    undisturbed: tuple[Sweep, list[Event], list[Any], dict[int, list[Any]]], tmp_path: Path
) -> None:
    sweep, events, last, after = undisturbed
    for number in range(len(events) + 1):
        log = SweepFolder(tmp_path / str(number))
        log.path.mkdir()
        for event in events[:number]:
            log.log(event)
        driver = Driver(sweep, log.path)
        if number in after:
            assert trials(driver.search) == after[number], f"rebuilt after event {number}"
        assert log.events() == events[:number], "a replay logs nothing"
        for _ in driver.run():
            pass
        assert log.events() == events, f"interrupted after event {number}"
        assert trials(driver.search) == last


def test_interrupted_again_and_again(
    undisturbed: tuple[Sweep, list[Event], list[Any], dict[int, list[Any]]], tmp_path: Path
) -> None:
    sweep, events, last, _ = undisturbed
    for _ in range(len(events)):
        driver = Driver(sweep, tmp_path / "log")
        steps = driver.run()
        for _ in itertools.islice(steps, 3):
            pass
    assert driver.folder.events() == events
    assert trials(driver.search) == last


def test_optuna_is_told_the_mean_over_seeds(sweep: Sweep, tmp_path: Path) -> None:
    search = Driver(sweep, tmp_path / "log").search
    assert search.suggest("a")
    assert search.suggest("b")
    search.on_trial_complete("b", {"outcome": "finished", METRIC: 3.0})
    assert search.study.trials[0].state == TrialState.RUNNING
    search.on_trial_complete("a", {"outcome": "finished", METRIC: 1.0})
    assert search.study.trials[0].value == 2.0
    assert search.study.study_name == "tiny"


FAILURES: list[Callable[[StudySearch], None]] = [
    lambda search: search.on_trial_complete("a", {"outcome": "failed", METRIC: 1.0}),
    lambda search: search.on_trial_complete("a", {"outcome": "finished", METRIC: math.inf}),
    lambda search: search.on_trial_complete("a", {"outcome": "finished"}),
    lambda search: search.on_trial_complete("a", {METRIC: 1.0}, error=True),
    lambda search: search.on_trial_complete("a", error=True),
]


@pytest.mark.parametrize("fail", FAILURES)
def test_a_point_with_a_failed_seed_is_no_result(
    sweep: Sweep, tmp_path: Path, fail: Callable[[StudySearch], None]
) -> None:
    """The mean over the seeds that are left would compare unlike things."""
    driver = Driver(sweep, tmp_path / "log")
    driver.search.suggest("a")
    driver.search.suggest("b")
    fail(driver.search)
    driver.search.on_trial_complete("b", {"outcome": "finished", METRIC: 1.0})
    assert driver.search.study.trials[0].state == TrialState.FAIL
    assert Driver(sweep, tmp_path / "log").search.study.trials[0].state == TrialState.FAIL


@pytest.mark.parametrize("outcome", ["paused", "busy"])
def test_a_trial_that_is_not_over_is_handed_out_again(
    sweep: Sweep, tmp_path: Path, outcome: str
) -> None:
    first = Driver(sweep, tmp_path / "log").search
    tasks = [first.suggest(name) for name in "ab"]
    first.on_trial_complete("a", {"outcome": outcome})
    assert [event["event"] for event in SweepFolder(tmp_path / "log").events()] == ["suggest"]
    again = first.suggest("c")
    assert isinstance(again, dict)
    assert isinstance(tasks[0], dict)
    assert (again["p"], again["s"]) == (tasks[0]["p"], tasks[0]["s"])
    second = Driver(sweep, tmp_path / "log").search
    assert [second.suggest(name) for name in "ab"] == tasks


def test_more_seeds_are_run_for_the_points_there_are(sweep: Sweep, tmp_path: Path) -> None:
    driver = Driver(sweep, tmp_path / "log")
    for name in "ab":
        driver.search.suggest(name)
    for name in "ab":
        driver.search.on_trial_complete(name, {"outcome": "finished", METRIC: 1.0})
    point = driver.search.study.trials[0].params
    more = Driver(optuna_sweep(tmp_path, seeds=3), tmp_path / "log").search
    suggested = more.suggest("c")
    assert isinstance(suggested, dict)
    assert (suggested["p"], suggested["s"]) == (point, 2)
    more.on_trial_complete("c", {"outcome": "finished", METRIC: 4.0})
    assert more.study.trials[0].value == 2.0


@pytest.mark.parametrize(
    "changes",
    [
        {"axes": {WEIGHT: {"low": 1e-3, "high": 1, "log": True}}},
        {"axes": {WEIGHT: {"low": 1e-3, "high": 1, "log": True}, SPLITS: [2, 32]}},
        {"axes": {WEIGHT: {"low": 2.0, "high": 3.0}, SPLITS: [4, 8, 16]}},
        {"seeds": [1]},
        {"metric": {"name": "head/gamma", "mode": "min"}},
    ],
    ids=["other axes", "other values", "other interval", "fewer seeds", "other metric"],
)
def test_another_search_under_the_same_name_is_refused(
    sweep: Sweep, tmp_path: Path, changes: dict[str, Any]
) -> None:
    driver = Driver(sweep, tmp_path / "log")
    for name in "ab":
        driver.search.suggest(name)
        driver.search.on_trial_complete(name, {"outcome": "finished", METRIC: 1.0})
    before = driver.folder.events()
    with pytest.raises(ConfigError, match=r"which this sweep began with; or a new name"):
        Driver(optuna_sweep(tmp_path, **changes), tmp_path / "log")
    assert driver.folder.events() == before


def test_random_search_is_rebuilt_as_well(tmp_path: Path) -> None:
    search = {"name": "optuna", "trials": 6, "sampler": "random", "seed": 5}
    sweep = optuna_sweep(tmp_path, search=search)
    whole = Driver(sweep, tmp_path / "whole")
    for _ in whole.run():
        pass
    for _ in range(10):
        parts = Driver(sweep, tmp_path / "parts")
        for _ in itertools.islice(parts.run(), 4):
            pass
    assert parts.folder.events() == whole.folder.events()
    other = Driver(optuna_sweep(tmp_path, search={**search, "seed": 6}), tmp_path / "other")
    other.fill()
    assert other.folder.events()[0] != whole.folder.events()[0]
