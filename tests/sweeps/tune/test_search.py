"""A search that is interrupted at any moment goes on as though it had not been."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from sweeps.question import OtherQuestionError
from sweeps.spec.sweep import Sweep
from sweeps.store import SweepFolder
from sweeps.tune.messages import Outcome
from sweeps.tune.search import StudySearch
from tests.helpers import messages
from tests.helpers.declaring import SPLITS, WEIGHT
from tests.helpers.searching import (
    METRIC,
    NOT_OVER,
    POINTS,
    Driver,
    Event,
    Moment,
    Results,
    identity_of,
    optuna_sweep,
    trial_in,
    trials,
)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return optuna_sweep(tmp_path)


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
