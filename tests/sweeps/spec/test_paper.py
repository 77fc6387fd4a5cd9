"""Profiles of a sweep, named variants, and what it says it reproduces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from care.errors import ConfigError, Problem
from care.trials.identity import trial_id
from care.trials.records import SweepRecord
from sweeps.plan import make_plan
from sweeps.spec.sweep import load_sweep, restore_sweep
from sweeps.store import Store
from tests.helpers.declaring import WEIGHT, declare

Refused = Callable[..., Problem]
SMALL: dict[str, Any] = {
    "include": "shared.yaml",
    "overrides": {"training.epochs": 2},
    "axes": {WEIGHT: [0, 0.3]},
    "seeds": 1,
}


def declared(folder: Path, **changes: Any) -> Path:
    (folder / "shared.yaml").write_text("model.head.output: 8\ntraining.epochs: 7\n")
    file: Path = declare(folder, **{"profiles": {"small": SMALL}, **changes})
    return file


def test_a_profile_is_the_sweep_in_another_size(tmp_path: Path) -> None:
    file = declared(tmp_path, overrides={"training.epochs": 5, "training.batch_size": 128})
    whole, small = load_sweep(file), load_sweep(file, profile="small")
    assert (whole.spec.name, small.spec.name) == ("tiny", "tiny-small")
    base = small.base_config()
    # The profile's own come last, then what it includes, then the sweep's.
    assert base.training.epochs == 2
    assert base.model.head.output == 8
    assert base.training.batch_size == 128
    assert (small.spec.seeds, small.spec.axes) == ((0,), {WEIGHT: [0, 0.3]})
    assert (whole.spec.seeds, whole.spec.axes) == ((0, 1), {WEIGHT: [0, 0.1]})
    assert whole.base_config().training.epochs == 5


def test_a_profile_may_have_variants_of_its_own(tmp_path: Path) -> None:
    profile = {"variants": {"wide": {"model.head.hidden": 33}}}
    variants: dict[str, dict[str, Any]] = {"CARE": {}, "wide": {"model.head.hidden": 99}}
    file = declared(tmp_path, variants=variants, axes={}, profiles={"small": profile})
    small, whole = load_sweep(file, profile="small"), load_sweep(file)
    assert small.trial({"variant": "wide"}, 0).model.head.hidden == 33
    assert whole.trial({"variant": "wide"}, 0).model.head.hidden == 99
    assert small.spec.axes == {"variant": ["CARE", "wide"]}


def test_the_sweep_as_it_stands_is_called_paper(tmp_path: Path) -> None:
    file = declared(tmp_path)
    assert load_sweep(file, profile="paper").base == load_sweep(file).base


def test_a_reproduction_knows_the_papers_settings(tmp_path: Path) -> None:
    file = declared(tmp_path, reproduces={"what": "Fig 7", "figure": "lambda"})
    small = load_sweep(file, profile="small")
    assert small.paper_config() == load_sweep(file).base_config()
    assert small.paper_config().training.epochs != small.base_config().training.epochs


@pytest.mark.parametrize(
    ("stored", "metric", "present"),
    [
        ("bars", "head/axis_error", "axis"),
        ("bars", "encoder/probe_accuracy", "losses"),
        ("cosine_histogram", "head/gamma", "circle"),
        ("sweep", "encoder/probe_accuracy", "lambda"),
        ("curves", "heldout/gamma", "training"),
        ("retrieval", "head/color_following", "flowers"),
        ("cosine_curves", "head/positive_cosine", "positives"),
        ("wahba", "head/wahba_per_sqrt_n", "wahba"),
    ],
)
def test_a_sweep_that_was_stored_under_a_figures_old_name_is_read(
    tmp_path: Path, stored: str, metric: str, present: str
) -> None:
    sweep = load_sweep(declared(tmp_path))
    spec = sweep.spec.model_dump(mode="json")
    spec["reproduces"] = {"what": "Fig 0", "figure": stored, "metric": metric}
    restored = restore_sweep(SweepRecord(spec=spec, base=sweep.base, file=sweep.source))
    assert restored.spec.reproduces is not None
    assert (restored.spec.reproduces.figure, restored.spec.axes) == (present, sweep.spec.axes)


def test_an_unknown_profile_is_refused(tmp_path: Path, refused: Refused) -> None:
    problem = refused(lambda: load_sweep(declared(tmp_path), profile="smal"))
    assert (problem.field, problem.value, problem.nearest) == ("profile", "smal", "small")


def test_what_is_included_must_be_there(tmp_path: Path, refused: Refused) -> None:
    file = declared(tmp_path, profiles={"small": {"include": "shered.yaml"}})
    problem = refused(lambda: load_sweep(file, profile="small"))
    assert problem.nearest == "shared.yaml"


def test_a_misspelt_field_that_is_included_is_refused(tmp_path: Path, refused: Refused) -> None:
    file = declared(tmp_path)
    (tmp_path / "shared.yaml").write_text("model.hed.output: 8\n")
    problem = refused(lambda: load_sweep(file, profile="small"))
    assert (problem.field, problem.nearest) == ("model.hed", "head")


def test_variants_are_an_axis_of_named_settings(tmp_path: Path) -> None:
    variants = {"SimCLR": {WEIGHT: 0}, "CARE": {}, "L_unif": {"objective": {"name": "uniformity"}}}
    file = declared(tmp_path, variants=variants, axes={"training.epochs": [1, 2]})
    plan = make_plan(load_sweep(file), Store(tmp_path / "runs"))
    assert len(plan.trials) == 3 * 2 * 2
    by_name = {trial.point["variant"]: trial.config for trial in plan.trials}
    assert by_name["SimCLR"].objective.equivariance.weight == 0
    assert by_name["CARE"].objective.equivariance.weight == 0.1
    assert by_name["L_unif"].objective.name == "uniformity"
    # A variant that gives a whole part leaves nothing of the experiment's in it.
    assert by_name["L_unif"].objective.equivariance.weight == 0


def test_equal_variants_are_one_trial(tmp_path: Path) -> None:
    variants: dict[str, dict[str, Any]] = {"CARE": {}, "the same": {WEIGHT: 0.1}}
    file = declared(tmp_path, variants=variants, axes={"training.epochs": [1]}, seeds=1)
    plan = make_plan(load_sweep(file), Store(tmp_path / "runs"))
    assert len({trial_id(trial.config) for trial in plan.trials}) == 1
    assert plan.wanted == 1


@pytest.mark.parametrize(
    ("changes", "field", "parts"),
    [
        ({"axes": {"variant": ["CARES"]}}, "axes.variant", ["CARES", "did you mean 'CARE'?"]),
        ({"axes": {"variant": ["CARE"], WEIGHT: [0]}, "variants": {"CARE": {WEIGHT: 1}}},
         f"variants.{WEIGHT}", ["fields that are no axis"]),
        ({"variants": {"CARE": {"runtime.threads": 1}}}, "variants.runtime.threads", ["no axis"]),
        ({"reproduces": {"what": "Fig 5", "figure": "whaba"}}, "reproduces.figure", ["wahba"]),
        ({"reproduces": {"what": "Fig 5"}}, "reproduces.figure", ["must be given"]),
        ({"reproduces": {"what": "Fig 7", "figure": "sweep"}}, "reproduces.figure",
         ["got 'sweep'", "renamed", "write 'lambda'"]),
        ({"reproduces": {"what": "Fig 4", "figure": "bars"}}, "reproduces.figure",
         ["write 'losses' or 'axis'"]),
    ],
)  # fmt: skip
def test_bad_declarations_are_refused(
    tmp_path: Path, changes: dict[str, Any], field: str, parts: list[str]
) -> None:
    file = declared(tmp_path, **{"variants": {"CARE": {}}, "axes": {}, **changes})
    with pytest.raises(ConfigError) as caught:
        load_sweep(file)
    assert field in str(caught.value)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_profiles_of_a_file_must_be_right_even_if_another_is_chosen(tmp_path: Path) -> None:
    file = declared(tmp_path)
    tree = yaml.safe_load(file.read_text())
    tree["profiles"]["other"] = {"overides": {}}
    file.write_text(yaml.safe_dump(tree))
    with pytest.raises(ConfigError, match="did you mean 'overrides'"):
        load_sweep(file, profile="small")
