"""Each sampler, interrupted at every moment, makes the suggestions of an undisturbed search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from sweeps.event_log import read_decisions
from sweeps.store import SweepFolder
from tests.helpers.declaring import SPLITS, WEIGHT
from tests.helpers.searching import (
    LOSS,
    METRIC,
    Driver,
    Moment,
    interrupt_again_and_again,
    optuna_sweep,
    trials,
)

TEMPERATURE = "objective.temperature"
AXES: dict[str, Any] = {
    WEIGHT: {"low": 1e-3, "high": 1, "log": True},
    TEMPERATURE: {"low": 0.05, "high": 0.5},
    SPLITS: [4, 8, 16],
}
SAMPLERS: dict[str, dict[str, Any]] = {
    "tpe, multivariate": {"sampler": "tpe", "multivariate": True, "startup": 4},
    "tpe, group": {"sampler": "tpe", "multivariate": True, "group": True, "startup": 4},
    "gp": {"sampler": "gp", "startup": 4, "trials": 8},
    "cmaes": {"sampler": "cmaes", "population": 4},
    "qmc": {"sampler": "qmc", "trials": 8},
    "nsga2": {"sampler": "nsga2", "population": 4},
    "nsga2, two metrics": {"sampler": "nsga2", "population": 4},
    "gp, two metrics": {"sampler": "gp", "startup": 4, "trials": 7},
    "tpe, two metrics": {"sampler": "tpe", "startup": 4, "trials": 12},
}
TWO = [{"name": METRIC, "mode": "min"}, {"name": LOSS, "mode": "max"}]
BY_GENERATION = ("cmaes", "nsga2", "nsga2, two metrics")


def searched(folder: Path, sampler: str, **changes: Any) -> Driver:
    folder.mkdir(exist_ok=True)
    search = {"name": "optuna", "trials": 20, **SAMPLERS[sampler], **changes}
    return Driver(
        optuna_sweep(folder, axes=AXES, seeds=1, search=search, **metrics_for(sampler)),
        folder / "log",
    )


def metrics_for(sampler: str) -> dict[str, Any]:
    return {"metric": None, "metrics": TWO} if "two metrics" in sampler else {}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_interrupted_at_any_moment(sampler: str, tmp_path: Path) -> None:
    driver = searched(tmp_path / "undisturbed", sampler)
    moments = [Moment.of(driver), *(Moment.of(driver) for _ in driver.run())]
    last = moments[-1]
    assert {state for _, _, state, _ in last.study} == {TrialState.COMPLETE, TrialState.FAIL}
    for number, moment in enumerate(moments):
        log = SweepFolder(tmp_path / str(number))
        log.path.mkdir()
        for event in moment.events:
            log.log(event)
        again = Driver(driver.sweep, log.path, dict(moment.results))
        assert trials(again.search) == moment.study, f"rebuilt at moment {number}"
        assert log.events() == moment.events, "a start logs nothing"
        # One suggestion is enough: the next moment continues from there.
        for _ in again.run():
            if len(log.events()) > len(moment.events):
                break
        count = len(log.events())
        assert log.events() == last.events[:count], f"interrupted at moment {number}"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_interrupted_again_and_again(sampler: str, tmp_path: Path) -> None:
    whole = searched(tmp_path / "undisturbed", sampler)
    for _ in whole.run():
        pass
    interrupt_again_and_again(whole, tmp_path / "parts")


@pytest.mark.parametrize("sampler", BY_GENERATION)
def test_generations_follow_each_other(sampler: str, tmp_path: Path) -> None:
    driver = searched(tmp_path, sampler)
    for _ in driver.run():
        pass
    suggestions = read_decisions(driver.folder).suggestions
    generations = [one.generation for one in suggestions]
    assert None not in generations
    assert generations == sorted(generations, key=lambda one: one or 0)
    starts = {one.generation: one.parents for one in suggestions if one.parents}
    assert list(starts) == list(range(1, max(one or 0 for one in generations) + 1))
    assert len(starts) >= 2
    states = {number: state for number, _, state, _ in trials(driver.search)}
    for parents in starts.values():
        assert len(parents) == 4
        assert {states[number] for number in parents} == {TrialState.COMPLETE}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_goes_on_without_the_values_of_deleted_trials(
    sampler: str, tmp_path: Path
) -> None:
    driver = searched(tmp_path, sampler)
    for _ in driver.run():
        pass
    more = {**driver.sweep.spec.search.model_dump(), "trials": driver.sweep.spec.search.trials + 4}
    grown = optuna_sweep(tmp_path, axes=AXES, seeds=1, search=more, **metrics_for(sampler))
    kept = dict(list(driver.results.items())[3:])
    again = Driver(grown, tmp_path / "log", kept)
    for _ in again.run():
        pass
    assert len(trials(again.search)) == len(trials(driver.search)) + 4
    assert trials(again.search)[: len(driver.search.study.trials)] == trials(driver.search)


def test_two_metrics_are_both_told_with_their_directions(tmp_path: Path) -> None:
    driver = searched(tmp_path, "nsga2, two metrics")
    for _ in driver.run():
        pass
    study = driver.search.study
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    best = study.best_trials
    assert 1 < len(best) < len(study.trials)
    for trial in best:
        assert not any(
            other.values[0] <= trial.values[0] and other.values[1] > trial.values[1]
            for other in study.trials
            if other.values
        )


def test_samplers_differ_and_seeds_do(tmp_path: Path) -> None:
    """Each is another search; a Sobol sequence of another seed is scrambled otherwise."""
    firsts = {}
    for sampler in (name for name in SAMPLERS if "two metrics" not in name):
        for seed in (0, 1):
            driver = searched(tmp_path / f"{sampler}-{seed}", sampler, seed=seed, trials=8)
            for _ in driver.run():
                pass
            firsts[sampler, seed] = str([params for _, params, _, _ in trials(driver.search)])
    firsts.pop(("tpe, group", 0))  # without conditions, one group has all axes
    firsts.pop(("tpe, group", 1))
    assert len(set(firsts.values())) == len(firsts)


def test_better_than_chance(tmp_path: Path) -> None:
    """The mean of the last points is better than that of the first ones."""
    for sampler in ("tpe, multivariate", "gp", "cmaes"):
        driver = searched(tmp_path / sampler, sampler, trials=30)
        for _ in driver.run():
            pass
        values = [value for _, _, _, value in trials(driver.search) if value is not None]
        first, last = values[: len(values) // 3], values[-len(values) // 3 :]
        assert sum(last) / len(last) < sum(first) / len(first), sampler
