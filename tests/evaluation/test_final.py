from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch.nn import functional as fn

from care.augmentation import apply, identity, sample
from care.config import AugmentationConfig, EvaluationConfig
from care.data import Dataset, ImageSet
from care.evaluation.final import evaluate
from care.evaluation.rotation import gamma, wahba
from care.randomness import generator
from tests.evaluation.colored_images import (
    SIDE,
    UNCHANGED,
    color_network,
    colored_dataset,
    small_network,
)

AUGMENTATION = AugmentationConfig()
EVALUATION = EvaluationConfig(knn_neighbors=5, rotation_augmentations=3)
NAMES = {"knn_accuracy", "probe_accuracy", "wahba", "wahba_per_sqrt_n", "gamma", "gamma_median"}


def test_readout_finds_what_each_space_holds() -> None:
    """The stand-in's encoder holds the color, which is the class and the hue; its head nothing."""
    measured = evaluate(color_network(), colored_dataset(), AUGMENTATION, EVALUATION)
    assert measured["encoder/knn_accuracy"] == 1
    assert measured["encoder/probe_accuracy"] == 1
    assert measured["encoder/hue_r2"] > 0.99
    assert measured["head/probe_accuracy"] == pytest.approx(1 / 3)
    assert measured["head/hue_r2"] == pytest.approx(0, abs=0.01)


def test_rotation_measures_are_those_of_normalized_features() -> None:
    dataset, network = colored_dataset(), color_network()
    measured = evaluate(network, dataset, AUGMENTATION, EVALUATION)
    images = dataset.test.images

    def points(rows: int, index: int | None) -> torch.Tensor:
        size = (SIDE, SIDE)
        table = identity(rows, size)
        if index is not None:
            table = sample(AUGMENTATION, rows, size, generator(0, "rotation", index))
        features = apply(table, images, dataset.mean, dataset.std).mean((2, 3))
        return fn.normalize(features, dim=1)

    clean, augmented = points(1, None), torch.stack([points(1, index) for index in range(3)])
    residual = sum(wahba(clean, moved) for moved in augmented) / 3
    assert measured["encoder/wahba"] == pytest.approx(residual, rel=1e-4)
    assert measured["encoder/wahba_per_sqrt_n"] == pytest.approx(
        residual / math.sqrt(len(images)), rel=1e-4
    )
    relative = gamma(clean, augmented)
    assert measured["encoder/gamma"] == pytest.approx(relative.mean, rel=1e-3)
    assert measured["encoder/gamma_median"] == pytest.approx(relative.median, rel=1e-3)
    assert residual > 0.1


def test_a_space_that_no_augmentation_moves_has_no_residual() -> None:
    measured = evaluate(color_network(), colored_dataset(), AUGMENTATION, EVALUATION)
    assert measured["head/wahba"] == pytest.approx(0, abs=1e-5)
    assert measured["head/gamma"] == 0
    still = evaluate(color_network(), colored_dataset(), UNCHANGED, EVALUATION)
    assert still["encoder/wahba"] == pytest.approx(0, abs=1e-4)
    assert still["encoder/gamma"] == 0


def test_hue_is_read_only_where_it_is_known() -> None:
    dataset = colored_dataset()

    def without_factors(images: ImageSet) -> ImageSet:
        return dataclasses.replace(images, factors={})

    unknown = dataclasses.replace(
        dataset, train=without_factors(dataset.train), test=without_factors(dataset.test)
    )

    def keys(data: Dataset) -> set[str]:
        return set(evaluate(color_network(), data, AUGMENTATION, EVALUATION))

    expected = {f"{space}/{name}" for space in ("encoder", "head") for name in NAMES}
    assert keys(unknown) == expected
    assert keys(dataset) == expected | {"encoder/hue_r2", "head/hue_r2"}


def test_measures_are_finite_bit_equal_and_leave_the_network_as_it_was() -> None:
    network = small_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = evaluate(network, colored_dataset(), AUGMENTATION, EVALUATION)
    torch.manual_seed(1)
    second = evaluate(network, colored_dataset(), AUGMENTATION, EVALUATION)
    assert second == first
    assert all(math.isfinite(value) for value in first.values())
    assert all(type(value) is float for value in first.values())
    assert all(module.training for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
