"""The order in which trials start: ``order`` and ``first`` of a sweep's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from care.errors import ConfigError
from care.trials.state import State
from sweeps.plan import make_plan
from sweeps.question import question_of
from sweeps.spec.sweep import load_sweep
from sweeps.store import Store
from tests.helpers.declaring import SPLITS, WEIGHT, declare, fabricate, load

AXES: dict[str, Any] = {WEIGHT: [0.01, 0.1, 1], SPLITS: [4, 8]}


def starts(store: Store, folder: Path, **changes: Any) -> list[tuple[Any, Any, int]]:
    """The (weight, splits, seed) of the trials to train, in their order."""
    plan = make_plan(load(folder, axes=AXES, **changes), store)
    return [
        (trial.point[WEIGHT], trial.point[SPLITS], trial.config.seed) for trial in plan.missing()
    ]


def test_points_or_seeds_first(store: Store, tmp_path: Path) -> None:
    points = starts(store, tmp_path)
    assert points[:3] == [(0.01, 4, 0), (0.01, 4, 1), (0.01, 8, 0)]
    seeds = starts(store, tmp_path, order="seeds")
    assert [seed for *_, seed in seeds] == [0] * 6 + [1] * 6
    assert sorted(seeds) == sorted(points)


def test_what_is_named_starts_first(store: Store, tmp_path: Path) -> None:
    order = starts(store, tmp_path, first=[{"λ": 1, "seed": 1}, {SPLITS: [8], WEIGHT: [0.1, 1]}])
    assert order[:2] == [(1, 4, 1), (1, 8, 1)]
    assert order[2:5] == [(0.1, 8, 0), (0.1, 8, 1), (1, 8, 0)]
    assert order[5:7] == [(0.01, 4, 0), (0.01, 4, 1)]


def test_paused_trials_come_before_new_ones_of_their_rank(store: Store, tmp_path: Path) -> None:
    sweep = load(tmp_path, axes=AXES)
    fabricate(store, sweep.trial({WEIGHT: 0.1, SPLITS: 8}, 1), State.PAUSED, 1)
    assert starts(store, tmp_path)[0] == (0.1, 8, 1)
    assert starts(store, tmp_path, first=[{"λ": 1}])[:5] == [
        *((1, splits, seed) for splits in (4, 8) for seed in (0, 1)),
        (0.1, 8, 1),
    ]


def test_a_trial_of_two_points_starts_with_the_earlier_one(store: Store, tmp_path: Path) -> None:
    """At λ = 0 the number of splits changes nothing."""
    axes = {WEIGHT: [0.1, 0], SPLITS: [4, 8]}
    first = [{WEIGHT: 0, SPLITS: 4, "seed": 1}]
    plan = make_plan(load(tmp_path, axes=axes, first=first), store)
    trial = plan.missing()[0]
    assert (trial.point[WEIGHT], trial.config.seed) == (0, 1)


entries = st.dictionaries(
    st.sampled_from([WEIGHT, SPLITS, "seed"]), st.integers(0, 10), min_size=1, max_size=3
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.lists(entries, max_size=4), order=st.sampled_from(["points", "seeds"]))
def test_every_order_has_the_same_trials(
    store: Store, tmp_path: Path, chosen: list[dict[str, int]], order: str
) -> None:
    levels: dict[str, list[Any]] = {**AXES, "seed": [0, 1]}
    first = [
        {name: levels[name][number % len(levels[name])] for name, number in entry.items()}
        for entry in chosen
    ]
    plain, ordered = load(tmp_path, axes=AXES), load(tmp_path, axes=AXES, first=first, order=order)
    trials = make_plan(ordered, store).missing()
    assert {one.trial_id for one in trials} == {
        one.trial_id for one in make_plan(plain, store).missing()
    }
    assert len(trials) == 12
    values = [{**trial.point, "seed": trial.config.seed} for trial in trials]
    ranks = [
        next((rank for rank, entry in enumerate(first) if entry.items() <= each.items()), 99)
        for each in values
    ]
    assert ranks == sorted(ranks)
    assert question_of(plain) == question_of(ordered)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first": [{"lamda": 1}]}, "did you mean 'lambda'?"),
        ({"first": [{"λ": 0.11}]}, "first.λ: got 0.11; allowed: 0.01, 0.1, 1; did you mean '0.1'?"),
        ({"first": [{"λ": True}]}, "first.λ: got True; allowed: 0.01, 0.1, 1"),
        ({"first": [{"seed": 7}]}, "first.seed: got 7; allowed: 0, 1"),
        ({"first": [{}]}, "allowed: an axis or 'seed' in each entry"),
        ({"order": "seed"}, "order: got 'seed'; allowed: points, seeds; did you mean 'seeds'?"),
    ],
)
def test_a_wrong_order_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, axes=AXES, **changes)
    assert message in str(refused.value)


def test_values_that_no_point_has_together_are_refused(tmp_path: Path) -> None:
    zipped = {"axes": {WEIGHT: [0.1, 1], SPLITS: [4, 8]}, "zip": [WEIGHT, SPLITS]}
    with pytest.raises(ConfigError, match="a point of the sweep has together"):
        load(tmp_path, **zipped, first=[{WEIGHT: 0.1, SPLITS: 8}])


def test_a_search_has_its_own_order(tmp_path: Path) -> None:
    axes = {WEIGHT: {"low": 0.01, "high": 1.0}}
    for changes in ({"order": "seeds"}, {"first": [{"seed": 1}]}):
        file = declare(tmp_path, axes=axes, search={"name": "optuna", "trials": 2}, **changes)
        with pytest.raises(ConfigError, match="optuna suggests one point after another"):
            load_sweep(file)
