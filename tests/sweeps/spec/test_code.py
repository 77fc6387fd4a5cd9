"""`code:` in a sweep's file: what is refused before git is asked, and the identity of its trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from care.config import TrialConfig
from care.config.loading import validate
from care.errors import Problem
from care.trials.identity import canonical, identities
from care.trials.pinned import PinnedTrial, pin, trial_model
from sweeps.question import question_of
from sweeps.spec.schema import SweepSpec
from sweeps.spec.sweep import Sweep
from tests.conftest import TINY

Refused = Callable[..., Problem]
AXIS = "objective.equivariance.weight"
RANGE = {"low": 0.01, "high": 1.0, "log": True}


def spec(**changes: Any) -> SweepSpec:
    declared = {"name": "s", "experiment": "e.yaml", "code": ["v1", "HEAD"], **changes}
    return validate(SweepSpec, declared, "sweep.yaml")


def stored(first: str, second: str, **changes: Any) -> Sweep:
    """A sweep as the store has it, with the versions of its revisions."""
    revisions = {
        name: {"commit": "c" * 40, "code_version": version}
        for name, version in (("v1", first), ("HEAD", second))
    }
    return Sweep(spec(code=revisions, **changes), TINY, "sweep.yaml")


@pytest.mark.parametrize(
    ("changes", "field", "allowed"),
    [
        ({"code": []}, "code", "a list of commits, tags or branches"),
        ({"code": "HEAD"}, "code", "a list of commits, tags or branches"),
        ({"code": ["HEAD", "v1", "HEAD"]}, "code.2", "each revision once"),
        ({"code": ["HEAD", 1.0]}, "code.1", "a number needs quotes"),
        ({"code": ["HEAD", " "]}, "code.1", "the name of a revision"),
        ({"axes": {"code": ["x"]}}, "axes.code", "no such axis beside 'code'"),
        ({"code": {}, "axes": {"code": ["x"]}}, "axes.code", "'code: [HEAD~1, HEAD]' beside"),
        ({"zip": ["code", AXIS], "axes": {AXIS: [0, 1]}}, "zip.0", "every point"),
        ({"references": ["torchvision:resnet50"]}, "references.0", "none with 'code'"),
        ({"resources": {"gpus": 2}}, "resources.gpus", "at most 1"),
        ({"resources": {"pack": 2}}, "resources.pack", "a process each"),
        ({"search": {"name": "optuna", "trials": 3}}, "search.name", "grid, random or sobol with"),
        (
            {"search": {"name": "sobol", "trials": 60_000}, "axes": {AXIS: RANGE}},
            "search.trials",
            "at most 100000 trials in all; these are 120000",
        ),
    ],
)
def test_refused(changes: dict[str, Any], field: str, allowed: str, refused: Refused) -> None:
    problem = refused(lambda: spec(**changes))
    assert problem.field == field
    assert allowed in problem.allowed


def test_each_revision_has_every_point() -> None:
    sweep = stored("ast1-a", "ast1-b", axes={AXIS: [0, 0.1]})
    points = [tuple(point.values()) for point in sweep.points()]
    assert points == [(0.0, "v1"), (0.0, "HEAD"), (0.1, "v1"), (0.1, "HEAD")]
    assert sweep.spec.pack == 1
    alone = stored("ast1-a", "ast1-b")
    assert [point["code"] for point in alone.points()] == ["v1", "HEAD"]
    chosen = alone.select(["code=HEAD"], None)
    assert [point["code"] for point in chosen.points()] == ["HEAD"]


@pytest.mark.parametrize("design", ["random", "sobol"])
def test_each_revision_has_every_point_of_a_design(design: str) -> None:
    search = {"search": {"name": design, "trials": 5, "seed": 3}}
    axes = {AXIS: RANGE, "optimizer.learning_rate": {"low": 0.01, "high": 0.1}}
    paired = [*stored("ast1-a", "ast1-b", axes=axes, **search).points()]
    assert [point["code"] for point in paired] == ["v1", "HEAD"] * 5
    rest = [{axis: point[axis] for axis in axes} for point in paired]
    assert rest[::2] == rest[1::2]
    plain = Sweep(spec(code={}, axes=axes, **search), TINY, "sweep.yaml")
    assert rest[::2] == [*plain.points()], "the points that the design has without revisions"
    more = stored("ast1-a", "ast1-b", axes=axes, search={**search["search"], "trials": 8})
    assert [*more.points()][:10] == paired


def test_a_design_draws_an_axis_that_only_one_revision_has() -> None:
    axes = {"optimizer.weight_decay": {**RANGE, "when": {"code": "HEAD"}}}
    sweep = stored("ast1-a", "ast1-b", axes=axes, search={"name": "random", "trials": 3})
    points = [tuple(point.values()) for point in sweep.points()]
    assert points[0] == ("unused", "v1")
    assert [code for _, code in points[1:]] == ["HEAD"] * 3
    assert len({decay for decay, _ in points}) == 4


def test_a_trial_is_its_configuration_and_its_code(tiny_config: TrialConfig) -> None:
    one, same, other = (pin(tiny_config, version) for version in ("ast1-a", "ast1-a", "ast1-b"))
    assert identities(one) == identities(same)
    every = [identities(each) for each in (tiny_config, one, other)]
    assert len({each.trial for each in every}) == len({each.group for each in every}) == 3
    assert canonical(one) == {**canonical(tiny_config), "code_version": "ast1-a"}
    tree = one.model_dump(mode="json")
    assert trial_model(tree).model_validate(tree) == one
    assert type(one.model_copy(update={"seed": 3})) is PinnedTrial
    assert trial_model(tiny_config.model_dump(mode="json")) is TrialConfig


def test_revisions_of_one_version_are_one_trial() -> None:
    sweep = stored("ast1-a", "ast1-a")
    assert len({identities(sweep.trial(point, 0)).trial for point in sweep.points()}) == 1


def test_a_scheduler_asks_another_question_once_a_name_has_moved() -> None:
    scheduler = {"scheduler": {"name": "asha"}, "metric": {"name": "heldout/gamma", "mode": "min"}}
    questions = [question_of(stored("ast1-a", head, **scheduler)) for head in ("ast1-b", "ast1-c")]
    assert questions[0].axes != questions[1].axes
    assert questions[0].axes == {"code": ["ast1-a", "ast1-b"]}
