"""What makes two trials one trial, and what makes them two."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from care.config import (
    AugmentationConfig,
    DataConfig,
    EquimodConfig,
    EquivarianceConfig,
    TrialConfig,
)
from care.config.loading import load_trial
from care.registry import OBJECTIVES
from care.trials.identity import canonical, group_id, trial_id
from tests.helpers.paths import ROOT

DIGITS = ROOT / "experiments" / "digits.yaml"


def leaves(model: BaseModel, prefix: str = "") -> Iterator[str]:
    """Dotted names of every field that is not a model itself."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def changed(model: Any, path: str) -> Any:
    """The configuration with another value in one field; its validity does not matter here."""
    name, _, rest = path.partition(".")
    value = getattr(model, name)
    if rest:
        other = changed(value, rest)
    else:
        other = another(value, type(model).model_fields[name].annotation)
        assert other != value
    return model.model_copy(update={name: other})


def another(value: Any, annotation: Any) -> Any:
    if typing.get_origin(annotation) is typing.Literal:
        return next(name for name in typing.get_args(annotation) if name != value)
    match value:
        case None if AugmentationConfig in typing.get_args(annotation):
            return AugmentationConfig(grayscale=0.3)
        case None:
            return "given" if str in typing.get_args(annotation) else 1
        case bool():
            return not value
        case "digits":
            return "cifar10"
        case str():
            return value + "-2"
        case int() | float():
            return value + 1
        case ():
            return (one_of(typing.get_args(annotation)[0]),)
        case tuple():
            return (value[0], value[1] + 1) if len(value) == 2 else ()
    raise TypeError(value)


def one_of(kind: Any) -> Any:
    """A value for a tuple of these."""
    if kind is DataConfig:
        return DataConfig(name="cifar100", side=16)
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Literal else 5


def with_everything() -> TrialConfig:
    """A trial of which every part is in use."""
    parts = {"equivariance": {"weight": 0.1}, "equimod": {"weight": 1}}
    monitor = {"every": 2, "measures": ["knn_accuracy", "probe_accuracy", "rank"]}
    evaluation = {"trained_probe": {"protocols": ["paper"]}, "monitor": monitor}
    return TrialConfig.model_validate({"objective": parts, "evaluation": evaluation})


FIELDS = list(leaves(with_everything()))
NAME = "objective.name"  # has a model for each of its values; see below
COUNTED = [path for path in FIELDS if not path.startswith("runtime.") and path != NAME]
EQUIVARIANCE = [f"objective.equivariance.{name}" for name in EquivarianceConfig.model_fields]
EQUIMOD = [f"objective.equimod.{name}" for name in EquimodConfig.model_fields]
PROBE = [path for path in COUNTED if path.startswith("evaluation.trained_probe.")]
PARTS = [f"evaluation.monitor.{name}_images" for name in ("train", "test")]
OPTIONAL = [*EQUIVARIANCE, *EQUIMOD, *PROBE, *PARTS]


def test_the_walk_finds_fields_of_every_part() -> None:
    assert {path.partition(".")[0] for path in FIELDS} == set(TrialConfig.model_fields)
    assert "augmentation.color_jitter.hue" in COUNTED
    assert set(OPTIONAL) <= set(COUNTED)


def test_every_objective_is_another_trial() -> None:
    trees = [{"name": name, "equivariance": {"weight": 0.1}} for name in OBJECTIVES]
    trials = [TrialConfig.model_validate({"objective": tree}) for tree in trees]
    assert len(set(map(trial_id, trials))) == len(OBJECTIVES)


@pytest.mark.parametrize("path", COUNTED)
def test_what_may_change_a_number_changes_the_identity(path: str) -> None:
    config = with_everything()
    other = changed(config, path)
    assert trial_id(other) != trial_id(config)
    assert (group_id(other) != group_id(config)) == (path != "seed")


def test_no_two_changes_meet() -> None:
    identities = {trial_id(changed(with_everything(), path)) for path in COUNTED}
    assert len(identities) == len(COUNTED)


@pytest.mark.parametrize("path", [path for path in FIELDS if path.startswith("runtime.")])
def test_how_a_trial_is_run_does_not_matter(path: str) -> None:
    config = TrialConfig()
    assert trial_id(changed(config, path)) == trial_id(config)
    assert group_id(changed(config, path)) == group_id(config)


@pytest.mark.parametrize("path", [path for path in COUNTED if path not in OPTIONAL])
def test_at_zero_weight_the_rest_still_matters(path: str) -> None:
    assert trial_id(changed(at_zero(), path)) != trial_id(at_zero())


def test_the_order_of_readouts_says_nothing() -> None:
    one, other, none = (
        TrialConfig.model_validate({"evaluation": {"readouts": names}})
        for names in (["wahba", "kinds"], ["kinds", "wahba"], [])
    )
    assert trial_id(one) == trial_id(other) != trial_id(none)
    assert trial_id(none) == trial_id(TrialConfig())
    assert "readouts" not in canonical(none)["evaluation"]


def test_what_only_says_the_whole_says_nothing() -> None:
    said = {"side": 32, "train_images": 50_000, "test_images": 10_000}
    one, other = (
        TrialConfig.model_validate({"data": {"name": "cifar10", **fields}}) for fields in ({}, said)
    )
    assert trial_id(one) == trial_id(other)


def test_the_side_of_transfer_data_is_the_trials() -> None:
    one, other = (
        TrialConfig.model_validate({"evaluation": {"transfer": [{"name": "cifar10", **fields}]}})
        for fields in ({}, {"side": 16, "train_images": 50_000})
    )
    assert trial_id(one) == trial_id(other)


def test_augmentations_of_images_do_not_matter_to_point_clouds() -> None:
    tree: dict[str, Any] = {"data": {"name": "proteins"}, "model": {"encoder": "deep_sets"}}
    one, other = (
        TrialConfig.model_validate({**tree, "augmentation": {"grayscale": share}})
        for share in (0.1, 0.2)
    )
    assert trial_id(one) == trial_id(other)


@pytest.mark.parametrize("path", OPTIONAL)
def test_at_zero_weight_the_rest_of_the_loss_does_not_matter(path: str) -> None:
    same = trial_id(changed(at_zero(), path)) == trial_id(at_zero())
    assert same == (path.rpartition(".")[2] not in ("weight", "protocols"))


def at_zero() -> TrialConfig:
    return TrialConfig.model_validate({"objective": {"equivariance": {"weight": 0}}})


def test_numbers_are_equal_however_written() -> None:
    one, same = (
        TrialConfig.model_validate({"objective": {"temperature": value}}) for value in (1, 1.0)
    )
    assert trial_id(one) == trial_id(same)


def test_defaults_written_out_are_the_defaults() -> None:
    assert trial_id(TrialConfig.model_validate(TrialConfig().model_dump())) == (
        trial_id(TrialConfig())
    )


def test_the_order_of_monitored_measures_does_not_matter() -> None:
    one, other = (
        TrialConfig.model_validate({"evaluation": {"monitor": {"measures": measures}}})
        for measures in (["rank", "gamma"], ["gamma", "rank"])
    )
    assert trial_id(one) == trial_id(other) != trial_id(TrialConfig())


def test_the_order_of_fields_does_not_matter(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("seed: 3\ntraining: {epochs: 2, batch_size: 64}\n")
    other.write_text("training: {batch_size: 64, epochs: 2}\nseed: 3\n")
    assert trial_id(load_trial(one)) == trial_id(load_trial(other))


def test_the_default_experiment_is_who_it_was() -> None:
    """Golden. A change here orphans every stored trial: change it only if numbers change, too."""
    config = load_trial(DIGITS)
    assert (trial_id(config), group_id(config)) == ("cbb932767ad63564", "806ec8de3b685926")
    assert canonical(config)["seed"] == 0


@pytest.mark.parametrize(
    "field", ["objective.equivariance.weight", "augmentation.grayscale", "optimizer.momentum"]
)
def test_minus_zero_is_zero(field: str) -> None:
    plain, minus = (load_trial(DIGITS, (f"{field}={zero}",)) for zero in ("0.0", "-0.0"))
    assert trial_id(minus) == trial_id(plain)
    assert group_id(minus) == group_id(plain)
