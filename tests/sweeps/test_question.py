"""What of a sweep its search and scheduler depend on, field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps.question import differences, is_searched, question_of
from tests.helpers.declaring import SPLITS, WEIGHT, load

OPTUNA: dict[str, Any] = {
    "axes": {WEIGHT: {"low": 0.01, "high": 1.0}, SPLITS: [4, 8]},
    "search": {"name": "optuna", "trials": 4},
    "metric": {"name": "heldout/gamma", "mode": "min"},
}
ASHA: dict[str, Any] = {
    "axes": {WEIGHT: [0, 0.1]},
    "scheduler": {"name": "asha"},
    "metric": {"name": "heldout/gamma", "mode": "min"},
}
BOTH = {**OPTUNA, "scheduler": {"name": "asha"}}


def differing(folder: Path, began: dict[str, Any], changes: dict[str, Any]) -> list[str]:
    """The differences between two sweeps, as a person reads them."""
    old = question_of(load(folder, **began))
    new = question_of(load(folder, **{**began, **changes}))
    assert differences(old, old) == differences(new, new) == []
    return [str(found) for found in differences(old, new)]


@pytest.mark.parametrize(
    ("began", "changes", "expected"),
    [
        (
            OPTUNA,
            {"metric": {"name": "train/loss", "mode": "min"}},
            ["metric.name: heldout/gamma → train/loss"],
        ),
        (
            OPTUNA,
            {"metric": {"name": "heldout/gamma", "mode": "max"}},
            ["metric.mode: min → max"],
        ),
        (
            BOTH,
            {"overrides": {"training.batch_size": 128, "training.epochs": 5}},
            ["training.batch_size: 256 → 128", "training.epochs: 3 → 5"],
        ),
        (
            OPTUNA,
            {"axes": {WEIGHT: {"low": 0.01, "high": 2.0}, SPLITS: [4, 8]}},
            [
                f"axes.{WEIGHT}: {{'low': 0.01, 'high': 1.0, 'log': False}} → "
                "{'low': 0.01, 'high': 2.0, 'log': False}"
            ],
        ),
        (
            OPTUNA,
            {"axes": {**OPTUNA["axes"], SPLITS: [4, 8, 16]}},
            [f"axes.{SPLITS}: [4, 8] → [4, 8, 16]"],
        ),
        (
            OPTUNA,
            {"axes": {WEIGHT: OPTUNA["axes"][WEIGHT]}},
            [f"axes.{SPLITS}: [4, 8] → unused"],
        ),
        (OPTUNA, {"seeds": [1]}, ["seeds: [0, 1] → [1]"]),
        (
            OPTUNA,
            {"search": {"name": "optuna", "sampler": "random", "seed": 3}},
            ["search.sampler: tpe → random", "search.seed: 0 → 3"],
        ),
        (
            OPTUNA,
            {"search": {"name": "optuna", "multivariate": True, "startup": 5}},
            ["search.multivariate: unused → True", "search.startup: unused → 5"],
        ),
        (
            {**OPTUNA, "search": {"name": "optuna", "sampler": "nsga2", "population": 8}},
            {"search": {"name": "optuna", "sampler": "nsga2"}},
            ["search.population: 8 → unused"],
        ),
        (
            {**ASHA, "scheduler": {"name": "median"}},
            {"scheduler": {"name": "median", "least_trials": 5}},
            ["scheduler.least_trials: unused → 5"],
        ),
        (
            ASHA,
            {"scheduler": {"name": "hyperband"}},
            ["scheduler.name: asha → hyperband"],
        ),
        (OPTUNA, {"scheduler": {"name": "asha"}}, None),
        (
            ASHA,
            {"scheduler": {"name": "asha", "reduction_factor": 2, "grace_epochs": 2}},
            [
                "scheduler.grace_epochs: 1 → 2",
                "scheduler.reduction_factor: 3.0 → 2.0",
            ],
        ),
        (ASHA, {"axes": {WEIGHT: [0.1, 1.0]}}, None),
        (ASHA, {"axes": {WEIGHT: [0, 0.1], SPLITS: [4, 16]}}, None),
        # What is unused at the first weight, 0, counts at the others.
        (
            ASHA,
            {"overrides": {SPLITS: 8}},
            [f"{SPLITS}: ['unused', 16] → ['unused', 8]"],
        ),
    ],
)
def test_what_makes_another_question(
    tmp_path: Path, began: dict[str, Any], changes: dict[str, Any], expected: list[str] | None
) -> None:
    found = differing(tmp_path, began, changes)
    assert found
    if expected is not None:
        assert found == expected


@pytest.mark.parametrize(
    ("began", "changes"),
    [
        (OPTUNA, {"search": {"name": "optuna", "trials": 40}}),
        (OPTUNA, {"search": {"name": "optuna", "trials": 2}}),
        (OPTUNA, {"seeds": 3}),
        (OPTUNA, {"seeds": [1, 0]}),
        (OPTUNA, {"description": "in other words"}),
        (OPTUNA, {"resources": {"threads": 1, "retries": 9}}),
        (OPTUNA, {"overrides": {"runtime.device": "cpu"}}),
        (ASHA, {"axes": {WEIGHT: [1.0, 0.1, 0]}}),
        (ASHA, {"axes": {WEIGHT: [0.1, 0]}}),
        (ASHA, {"seeds": 4}),
        # Nothing reads these where every weight is 0.
        ({**ASHA, "axes": {WEIGHT: [0]}}, {"overrides": {SPLITS: 8}}),
    ],
)
def test_what_asks_the_same_of_more_trials(
    tmp_path: Path, began: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert differing(tmp_path, began, changes) == []


def test_growing_is_no_way_to_ask_something_else(tmp_path: Path) -> None:
    """Values that come with a new value of the axis are new; those of the old ones must stay."""
    grown = {"axes": {WEIGHT: [0, 0.1, 1.0]}}
    assert differing(tmp_path, {**ASHA, "axes": {WEIGHT: [0]}}, {"axes": {WEIGHT: [0, 0.1]}}) == []
    changed = {**grown, "overrides": {"optimizer.learning_rate": 0.5}}
    assert any("learning_rate" in text for text in differing(tmp_path, ASHA, changed))


def test_variants_that_swap_their_settings(tmp_path: Path) -> None:
    def variants(first: int, second: int, **more: int) -> dict[str, Any]:
        sizes = {"a": first, "b": second, **more}
        return {"variants": {name: {SPLITS: size} for name, size in sizes.items()}}

    began = {**ASHA, **variants(4, 8)}
    assert differing(tmp_path, began, variants(4, 8, c=16)) == []
    assert differing(tmp_path, began, variants(8, 4)) != []
    change = {**variants(4, 8), "overrides": {"training.epochs": 5}}
    assert differing(tmp_path, began, change) == ["training.epochs: 3 → 5"]


def test_a_plain_grid_asks_each_trial_alone(tmp_path: Path) -> None:
    assert not is_searched(load(tmp_path))
    assert is_searched(load(tmp_path, **OPTUNA))
    assert is_searched(load(tmp_path, **ASHA))
