"""Configurations whose parts are shared: equal to those that are validated whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care.config import TrialConfig
from care.config.loading import validate
from care.config.yaml_reader import read_yaml
from care.errors import ConfigError
from care.trials.identity import canonical, identities
from sweeps.spec.parts import Parts, Settings

BASE = read_yaml(Path("experiments/digits.yaml"))
VALUES: dict[str, list[Any]] = {
    "objective.equivariance.weight": [0, 0.0, -0.0, 0.1, 1, True, "0.1", None],
    "objective.name": ["simclr", "byol", "spectral", "no such"],
    "objective.temperature": [0.5, 1, 1.0, -1],
    "objective": [{"name": "simclr", "temperature": 0.2}, {"name": "byol"}, 3],
    "optimizer.learning_rate": [1e-3, 0.001, 1, 1.0, 0],
    "optimizer.warmup_epochs": [0, 3, 10**6],
    "training.batch_size": [64, 100, 10**6, 64.0],
    "training.batch_norm_groups": [1, 2, 7],
    "training.precision": ["auto", "fp32"],
    "data.name": ["digits", "cifar10", "proteins"],
    "data.train_images": [None, 500, 1437, 10**6],
    "augmentation.grayscale": [0.0, -0.0, 0.2, 2],
    "evaluation.knn_neighbors": [5, 200, 10**6],
    "evaluation.readouts": [[], ["wahba"], ["ranking", "wahba"], ["no such"]],
    "evaluation.transfer": [[], [{"name": "cifar10", "side": 8}], [{"name": "digits"}]],
    "model.encoder": ["small_cnn", "resnet18", "no such"],
    "runtime.threads": [1, 2],
    "no.such": [1],
}
settings = st.lists(
    st.sampled_from(list(VALUES)).flatmap(
        lambda field: st.tuples(st.just(field), st.sampled_from(VALUES[field]))
    ),
    max_size=3,
)


def outcome(parts: Parts, chosen: Settings, *, whole: bool) -> TrialConfig | str:
    """The configuration, or its error, from shared parts or validated whole."""
    try:
        if not whole:
            return parts.config(chosen, 3)
        return validate(TrialConfig, {**parts.tree(chosen), "seed": 3}, "here")
    except ConfigError as error:
        return str(error)


def written(config: TrialConfig) -> str:
    """The configuration as text, in which 1, 1.0 and True differ, and 0.0 and -0.0."""
    return repr(config.model_dump())


@given(st.lists(settings, min_size=2, max_size=12))
def test_shared_parts_give_what_a_whole_validation_gives(points: list[Settings]) -> None:
    parts = Parts(BASE, "here")
    for chosen in points:
        shared, whole = (outcome(parts, chosen, whole=way) for way in (False, True))
        if isinstance(shared, str) or isinstance(whole, str):
            assert shared == whole
            continue
        assert written(shared) == written(whole)
        assert shared.model_fields_set == whole.model_fields_set


def of_whole(config: TrialConfig, *without: str) -> str:
    """The hash by its definition: of sorted JSON of the whole canonical configuration."""
    tree = {name: part for name, part in canonical(config).items() if name not in without}
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@given(st.lists(settings, min_size=2, max_size=12))
def test_identities_of_shared_parts_are_those_of_the_whole(points: list[Settings]) -> None:
    parts = Parts(BASE, "here")
    for chosen in points:
        config = outcome(parts, chosen, whole=False)
        if isinstance(config, TrialConfig):
            again = TrialConfig.model_validate(config.model_dump(mode="json"), strict=False)
            assert identities(config) == (of_whole(again), of_whole(again, "seed"))


def test_points_of_a_random_design_outnumber_the_parts_that_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sweeps.spec.parts._MOST_KNOWN", 5)
    parts = Parts(BASE, "here")
    rates = [1e-3 * number for number in range(1, 20)] * 2
    configs = [parts.config([("optimizer.learning_rate", rate)], 0) for rate in rates]
    assert [config.optimizer.learning_rate for config in configs] == rates
