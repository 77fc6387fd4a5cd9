"""Which points a sweep has: ranges, conditions, zipped axes and designs."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.labels import UNUSED
from care.errors import ConfigError
from care.trials.identity import trial_id
from care.trials.records import SweepRecord
from sweeps.plan import make_plan, trial_configs
from sweeps.question import differences, question_of
from sweeps.spec.axes import parse_axes
from sweeps.spec.designs import draw_points
from sweeps.spec.expansion import Space
from sweeps.spec.space import Choice, Range, comparable
from sweeps.spec.sweep import Sweep, restore_sweep
from sweeps.store import Store
from sweeps.tune.study_space import StudySpace
from tests.helpers.declaring import SPLITS, WEIGHT, load

EPOCHS, SHARED, SAMPLES = (
    "training.epochs",
    "objective.equivariance.shared_views",
    "data.train_images",
)
MOMENTUM = "objective.momentum"
TWO_OBJECTIVES: dict[str, Any] = {
    "objective.name": ["simclr", "moco_v2"],
    MOMENTUM: {"values": [0.9, 0.99], "when": {"objective.name": "moco_v2"}},
}


def points(sweep: Sweep) -> list[list[Any]]:
    return [list(point.values()) for point in sweep.points()]


def with_types(values: list[list[Any]]) -> str:
    return repr(values)  # 1 == 1.0 == True in Python


@pytest.mark.parametrize(
    ("axis", "declared", "expected"),
    [
        (WEIGHT, {"low": 0, "high": 0.4, "step": 0.1}, [0.0, 0.1, 0.2, 0.3, 0.4]),
        (WEIGHT, {"low": -0.0, "high": 2, "step": 1}, [0.0, 1.0, 2.0]),
        (WEIGHT, {"low": 1e-3, "high": 3e-3, "step": 0.001}, [0.001, 0.002, 0.003]),
        (EPOCHS, {"low": 2, "high": 6, "step": 2}, [2, 4, 6]),
        (EPOCHS, {"low": 2.0, "high": 3, "step": 1.0}, [2, 3]),
        (WEIGHT, [1, 0.5, 0], [1.0, 0.5, 0.0]),
        (EPOCHS, [1.0, 2], [1, 2]),
        (SHARED, [True, False], [True, False]),
        (SAMPLES, [None, 1024, 512.0], [None, 1024, 512]),
        ("augmentation.crop.scale", [[0.2, 1], [1, 1]], [[0.2, 1.0], [1.0, 1.0]]),
    ],
)
def test_an_axis_has_its_fields_type(
    tmp_path: Path, axis: str, declared: Any, expected: list[Any]
) -> None:
    sweep = load(tmp_path, axes={axis: declared}, seeds=1)
    assert with_types(points(sweep)) == with_types([[value] for value in expected])
    again = restore_sweep(
        SweepRecord(spec=sweep.spec.model_dump(mode="json"), base=sweep.base, file="")
    )
    assert with_types(points(again)) == with_types(points(sweep))


def test_equal_numbers_are_one_trial_however_they_are_written(tmp_path: Path) -> None:
    one = load(tmp_path, axes={WEIGHT: [0, 1, 1e-3], EPOCHS: [1, 2]}, seeds=1)
    other = load(tmp_path, axes={WEIGHT: [-0.0, 1.0, 0.001], EPOCHS: [1.0, 2]}, seeds=1)
    store = Store(tmp_path / "runs")
    assert list(trial_configs(one, store)) == list(trial_configs(other, store))
    assert [t.label for t in make_plan(one, store).trials] == [
        t.label for t in make_plan(other, store).trials
    ]
    for text in ("λ=1", "λ=1.0", "λ=1e0"):
        assert len(make_plan(one.select([text], None), store).trials) == 2
    asha = {"scheduler": {"name": "asha"}, "metric": {"name": "heldout/gamma"}}
    questions = [
        question_of(load(tmp_path, axes={WEIGHT: values}, **asha))
        for values in ([0, 1], [0.0, 1.0])
    ]
    assert differences(*questions) == []


def test_conditional_axis(tmp_path: Path) -> None:
    sweep = load(tmp_path, axes={**TWO_OBJECTIVES, WEIGHT: [0, 0.1]}, seeds=2)
    assert points(sweep) == [
        ["simclr", UNUSED, 0.0],
        ["simclr", UNUSED, 0.1],
        ["moco_v2", 0.9, 0.0],
        ["moco_v2", 0.9, 0.1],
        ["moco_v2", 0.99, 0.0],
        ["moco_v2", 0.99, 0.1],
    ]
    plan = make_plan(sweep, Store(tmp_path / "runs"))
    assert len(plan.trials) == len(plan.unique()) == 12
    assert plan.trials[0].label == "name=simclr momentum=unused λ=0 seed=0"
    momentum = {getattr(trial.config.objective, "momentum", None) for trial in plan.trials}
    assert momentum == {None, 0.9, 0.99}
    for text, number in (("momentum=unused", 4), ("momentum=0.99", 4), ("name=moco_v2", 8)):
        assert len(make_plan(sweep.select([text], None), Store(tmp_path)).trials) == number


def test_condition_on_what_a_variant_sets(tmp_path: Path) -> None:
    variants = {"plain": {}, "momentum": {"objective.name": "moco_v2"}}
    for when in ({"objective.name": "moco_v2"}, {"variant": "momentum"}):
        axes = {MOMENTUM: {"values": [0.9, 0.99], "when": when}}
        sweep = load(tmp_path, variants=variants, axes=axes)
        expected = [["plain", UNUSED], ["momentum", 0.9], ["momentum", 0.99]]
        assert points(sweep) == expected


def test_condition_on_a_later_axis(tmp_path: Path) -> None:
    axes = {SPLITS: {"values": [4, 8], "when": {WEIGHT: [0.1, 0.2]}}, WEIGHT: [0, 0.1, 0.2]}
    expected = [[UNUSED, 0.0], [4, 0.1], [8, 0.1], [4, 0.2], [8, 0.2]]
    assert points(load(tmp_path, axes=axes)) == expected


def test_zipped_axes(tmp_path: Path) -> None:
    axes = {WEIGHT: [0.1, 0.2, 0.2], EPOCHS: [1, 2], SPLITS: [4, 4, 8]}
    sweep = load(tmp_path, axes=axes, zip=[WEIGHT, SPLITS], seeds=1)
    assert points(sweep) == [
        [0.1, 1, 4], [0.1, 2, 4], [0.2, 1, 4], [0.2, 2, 4], [0.2, 1, 8], [0.2, 2, 8],
    ]  # fmt: skip
    assert points(sweep.select(["λ=0.2", "epochs=1"], None)) == [[0.2, 1, 4], [0.2, 1, 8]]


AXES = [WEIGHT, SPLITS, EPOCHS, "training.batch_size"]


@st.composite
def spaces(draw: st.DrawFn) -> tuple[dict[str, Any], list[list[str]]]:
    """Axes of a few values, some zipped, others conditional on axes anywhere before."""
    names = draw(st.permutations(AXES))[: draw(st.integers(1, 4))]
    length = draw(st.integers(1, 3))
    zipped = draw(st.booleans()) and len(names) > 2
    axes: dict[str, Any] = {}
    for number, name in enumerate(names):
        size = length if zipped and number < 2 else draw(st.integers(1, 3))
        values = [number + 1.0 + index for index in range(size)]
        axes[name] = values
        if number >= (2 if zipped else 1) and draw(st.booleans()):
            before = draw(st.sampled_from(names[:number]))
            known = axes[before]["values"] if isinstance(axes[before], dict) else axes[before]
            wanted = draw(st.lists(st.sampled_from(known), min_size=1, max_size=2, unique=True))
            axes[name] = {"values": values, "when": {before: wanted}}
    order = draw(st.permutations(names))
    return {name: axes[name] for name in order}, [names[:2]] if zipped else []


def make_space(axes: dict[str, Any], zips: list[list[str]]) -> Space:
    return Space(parse_axes(axes), zips, lambda field: {field}, lambda point, field: point[field])


def by_brute_force(axes: dict[str, Any], zips: list[list[str]]) -> set[Any]:
    """Every combination of all values and ``unused`` that is as the declaration says."""
    domains = [
        [*axis["values"], UNUSED] if isinstance(axis, dict) else axis for axis in axes.values()
    ]
    found = set()
    for values in itertools.product(*domains):
        point = dict(zip(axes, values, strict=True))
        conditional = {name: axis for name, axis in axes.items() if isinstance(axis, dict)}
        fits = all(
            (point[name] != UNUSED) == all(point[one] in some for one, some in axis["when"].items())
            for name, axis in conditional.items()
        )
        together = all(
            len({axes[name].index(point[name]) for name in group}) == 1 for group in zips
        )
        if fits and together:
            found.add(values)
    return found


@given(spaces())
def test_the_points_are_those_of_a_brute_force_search(
    drawn: tuple[dict[str, Any], list[list[str]]],
) -> None:
    axes, zips = drawn
    space = make_space(axes, zips)
    listed = [tuple(point.values()) for point in space.grid()]
    assert len(set(listed)) == len(listed) == space.size(1000)
    assert set(listed) == by_brute_force(axes, zips)
    assert all(list(point) == list(axes) for point in space.grid())
    ends = list(space.ends())
    assert {tuple(point.values()) for point in ends} <= set(listed)
    for name, levels in space.levels().items():
        assert {point[name] for point in space.grid()} <= set(levels)
        taken = {point[name] for point in space.grid()} - {UNUSED}
        assert taken <= {point[name] for point in ends}, "a search checks each value beforehand"


@settings(deadline=None)  # SciPy is imported
@given(spaces(), st.sampled_from(["random", "sobol"]), st.integers(0, 3))
def test_a_design_draws_points_of_the_space(
    drawn: tuple[dict[str, Any], list[list[str]]], name: str, seed: int
) -> None:
    axes, zips = drawn
    space = make_space(axes, zips)
    known = by_brute_force(axes, zips)
    design: Any = name
    points = [tuple(p.values()) for p in draw_points(space, design, min(2, len(known)), seed)]
    assert len(set(points)) == min(2, len(known))
    assert set(points) <= known
    with pytest.raises(ConfigError, match=r"search\.trials"):
        list(draw_points(space, design, len(known) + 1, seed))


@given(spaces(), st.integers(0, 2**31))
def test_a_study_keeps_the_points(drawn: tuple[dict[str, Any], list[list[str]]], seed: int) -> None:
    space = make_space(*drawn)
    study_space = StudySpace(space)
    for point in space.grid():
        assert study_space.point(study_space.params(point)) == point
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    params = study_space.suggest(trial)
    assert params == trial.params
    assert tuple(study_space.point(params).values()) in by_brute_force(*drawn)


RANGES: dict[str, Any] = {
    WEIGHT: {"low": 1e-3, "high": 10, "log": True},
    SPLITS: {"low": 1, "high": 64, "log": True},
    EPOCHS: {"low": 2, "high": 10, "step": 4},
    "objective.temperature": {"low": 0.1, "high": 0.5, "step": 0.1},
    "optimizer.learning_rate": {"low": 0.25, "high": 0.5},
    "training.batch_norm_groups": {"low": 1, "high": 3},
}


@pytest.mark.parametrize("design", ["random", "sobol"])
def test_a_design_fills_ranges(tmp_path: Path, design: str) -> None:
    def drawn(trials: int, seed: int = 0) -> list[dict[str, Any]]:
        search = {"name": design, "trials": trials, "seed": seed}
        return list(load(tmp_path, axes=RANGES, search=search).points())

    points = drawn(64)
    assert points[:10] == drawn(10), "a design that grows keeps its points"
    assert points != drawn(64, seed=1)
    assert {p[EPOCHS] for p in points} == {2, 6, 10}
    assert {p["objective.temperature"] for p in points} == {0.1, 0.2, 0.3, 0.4, 0.5}
    assert {p["training.batch_norm_groups"] for p in points} == {1, 2, 3}
    assert all(type(p[SPLITS]) is int and 1 <= p[SPLITS] <= 64 for p in points)
    assert {1, 2, 3} < {p[SPLITS] for p in points}
    assert all(0.25 <= p["optimizer.learning_rate"] <= 0.5 for p in points)
    below = sum(p[WEIGHT] < 0.1 for p in points)
    assert all(1e-3 <= p[WEIGHT] <= 10 for p in points)
    assert below == 32 if design == "sobol" else 20 < below < 44, "uniform on a log scale"


def test_points_of_designs_stay_what_they_are(tmp_path: Path) -> None:
    """They are trials in stores: another version of a library must not move them."""
    axes = {WEIGHT: RANGES[WEIGHT], SPLITS: RANGES[SPLITS]}
    found = {
        design: [
            tuple(point.values())
            for point in load(
                tmp_path, axes=axes, search={"name": design, "trials": 3, "seed": 5}
            ).points()
        ]
        for design in ("random", "sobol")
    }
    assert found == GOLDEN


GOLDEN = {
    "random": [(0.00358263, 32), (0.676219, 29), (5.99016, 13)],
    "sobol": [(1.59185, 3), (0.0159185, 38), (0.159185, 11)],
}


@pytest.mark.parametrize("design", ["random", "sobol"])
def test_a_part_of_a_design_is_chosen(tmp_path: Path, design: str) -> None:
    axes = {**TWO_OBJECTIVES, WEIGHT: {"low": 0.1, "high": 0.9}}
    sweep = load(tmp_path, axes=axes, search={"name": design, "trials": 12}, seeds=2)
    plan = make_plan(sweep, Store(tmp_path / "runs"))
    assert len(plan.trials) == len(plan.unique()) == 24
    some = make_plan(sweep.select(["momentum=0.9"], "1"), Store(tmp_path / "runs")).trials
    assert some == tuple(t for t in plan.trials if t.point[MOMENTUM] == 0.9 and t.config.seed == 0)
    assert some
    assert sweep.spec.pack == "auto"


@given(
    st.integers(0, 50), st.integers(1, 400), st.integers(1, 9), st.integers(-3, 2), st.booleans()
)
def test_steps_are_decimal_numbers(
    low: int, count: int, step: int, power: int, integer: bool
) -> None:
    def number(units: int) -> float:
        return float(f"{units}e{power}")

    if integer:
        power = 0
    values = Range(number(low), number(low + count * step), number(step), integer=integer).values()
    assert list(values) == [number(low + index * step) for index in range(count + 1)]
    assert all(type(value) is (int if integer else float) for value in values)


def test_a_search_has_integers_and_steps(tmp_path: Path) -> None:
    sweep = load(tmp_path, axes={**RANGES, SHARED: [True, False]}, search={"name": "optuna"})
    space = StudySpace(sweep.space)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    replayed = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=4))
    for _ in range(40):
        params = space.suggest(study.ask())
        point = space.point(params)
        assert space.params(point) == params, "a study is rebuilt from its points"
        replayed.enqueue_trial(space.params(point))
        assert space.suggest(replayed.ask()) == params
        assert point["objective.temperature"] in (0.1, 0.2, 0.3, 0.4, 0.5)
        assert point[EPOCHS] in (2, 6, 10)
        assert [type(point[name]) for name in (SPLITS, EPOCHS, SHARED)] == [int, int, bool]


def test_a_conditional_search_suggests_what_exists(tmp_path: Path) -> None:
    axes = {
        "objective.name": ["simclr", "moco_v2"],
        MOMENTUM: {"low": 0.9, "high": 0.99, "when": {"objective.name": "moco_v2"}},
    }
    sweep = load(tmp_path, axes=axes, search={"name": "optuna"})
    space, study = StudySpace(sweep.space), optuna.create_study()
    for name in ("simclr", "moco_v2"):
        study.enqueue_trial({"objective.name": name})
        params = space.suggest(study.ask())
        assert set(params) == {"objective.name", *([MOMENTUM] if name == "moco_v2" else [])}
        point = space.point(params)
        assert (point[MOMENTUM] == UNUSED) == (name == "simclr")
        assert sweep.trial(point, 0).objective.name == name
    ends = [point[MOMENTUM] for point in sweep.space.ends()]
    assert {0.9, 0.99} < set(ends)


def test_twenty_thousand_points_are_listed_at_once(tmp_path: Path) -> None:
    axes = {WEIGHT: {"low": 0, "high": 1, "step": 1e-3}, "optimizer.learning_rate": [0.1, 0.2]}
    listed = [tuple(map(comparable, p.values())) for p in load(tmp_path, axes=axes).points()]
    assert len(set(listed)) == 2002
    assert math.isclose(sum(value for value, _ in listed), 1001.0)  # type: ignore[misc]


def test_identity_of_lists_and_mappings(tmp_path: Path) -> None:
    axes = {"objective.equivariance": [{"weight": 1, "splits": 4.0}, {"weight": 1.5}]}
    sweep = load(tmp_path, axes=axes, seeds=1)
    (first, _) = sweep.points()
    assert with_types(list(first.values())) == "[{'weight': 1.0, 'splits': 4}]"
    plain = load(tmp_path, axes={WEIGHT: [1], SPLITS: [4]}, seeds=1)
    assert trial_id(sweep.trial(first, 0)) == trial_id(plain.trial(next(plain.points()), 0))
    assert isinstance(parse_axes(axes)["objective.equivariance"].domain, Choice)
