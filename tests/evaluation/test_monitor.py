from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from care.augmentation import Augmenter, apply, identity, sample
from care.config import AugmentationConfig, EvaluationConfig
from care.data.dataset import Dataset
from care.evaluation.monitor import Monitor
from care.evaluation.rotation import gamma
from care.models import Network
from care.objectives.alignment import alignment, positive_cosine, uniformity
from care.objectives.equivariance import equivariance_loss
from care.system.rng import generator
from care.trials.failure import DivergedError
from tests.helpers.colored_images import (
    SIDE,
    UNCHANGED,
    color_network,
    colored_dataset,
    small_network,
)

AUGMENTATION = AugmentationConfig()
IMAGES = 10
EVALUATION = EvaluationConfig(monitor_images=IMAGES, monitor_augmentations=3)
KEYS = {
    "heldout/gamma",
    "heldout/gamma_median",
    "heldout/alignment",
    "heldout/uniformity",
    "heldout/positive_cosine",
    "heldout/equivariance",
}


def with_test_image_changed(dataset: Dataset, index: int) -> Dataset:
    images = dataset.test.images.clone()
    images[index] = 255 - images[index]
    return dataclasses.replace(dataset, test=dataclasses.replace(dataset.test, images=images))


def augmenter(dataset: Dataset) -> Augmenter[Any]:
    return dataset.augmenter(AUGMENTATION)


@pytest.mark.parametrize("augmentations", [1, 3])
def test_measures_are_those_of_the_embeddings(augmentations: int) -> None:
    dataset, net = colored_dataset(), small_network().eval()
    evaluation = EvaluationConfig(monitor_images=IMAGES, monitor_augmentations=augmentations)
    measured = Monitor(dataset, augmenter(dataset), evaluation)(net)

    def embed(rows: int, purpose: str, *indices: int) -> Tensor:
        table = sample(AUGMENTATION, rows, (SIDE, SIDE), generator(0, purpose, *indices))
        views = apply(table, dataset.test.images[:IMAGES], dataset.mean, dataset.std)
        embeddings: Tensor = net(views)
        return embeddings.detach()

    plain = apply(
        identity(IMAGES, (SIDE, SIDE)), dataset.test.images[:IMAGES], dataset.mean, dataset.std
    )
    shared = torch.stack([embed(1, "monitor", index) for index in range(3)])
    relative = gamma(net(plain).detach(), shared[:augmentations])
    view1, view2 = embed(IMAGES, "monitor-view-1"), embed(IMAGES, "monitor-view-2")
    expected = {
        "heldout/gamma": relative.mean,
        "heldout/gamma_median": relative.median,
        "heldout/alignment": float(alignment(view1, view2)),
        "heldout/uniformity": float(uniformity(view1)),
        "heldout/positive_cosine": float(positive_cosine(view1, view2)),
        "heldout/equivariance": float(equivariance_loss(shared[0], shared[1], 1, "mean")),
    }
    assert measured.measures == pytest.approx(expected, rel=1e-4)
    assert set(measured.measures) == KEYS
    assert not measured.notes


def test_measures_are_bit_equal_whatever_the_random_state() -> None:
    net = small_network()
    monitor = Monitor(colored_dataset(), augmenter(colored_dataset()), EVALUATION)
    first = monitor(net)
    torch.manual_seed(1)
    assert monitor(net) == first
    assert Monitor(colored_dataset(), augmenter(colored_dataset()), EVALUATION)(net) == first


def test_network_and_random_state_are_left_as_they_were() -> None:
    net = small_network().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    monitor = Monitor(colored_dataset(), augmenter(colored_dataset()), EVALUATION)
    torch.manual_seed(3)
    monitor(net)
    after = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(2))
    assert all(module.training for module in net.modules())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_only_the_first_test_images_count() -> None:
    net, dataset = small_network(), colored_dataset()
    measured = Monitor(dataset, augmenter(dataset), EVALUATION)(net)
    beyond = with_test_image_changed(dataset, IMAGES)
    within = with_test_image_changed(dataset, IMAGES - 1)
    assert Monitor(beyond, augmenter(beyond), EVALUATION)(net) == measured
    assert Monitor(within, augmenter(within), EVALUATION)(net) != measured


def test_all_test_images_are_used_where_there_are_fewer() -> None:
    net, dataset = small_network(), colored_dataset(test=6)
    few = Monitor(dataset, augmenter(dataset), EvaluationConfig(monitor_images=6))(net)
    assert Monitor(dataset, augmenter(dataset), EvaluationConfig(monitor_images=999))(net) == few


def test_augmentations_that_change_nothing_leave_gamma_out() -> None:
    found = Monitor(colored_dataset(), colored_dataset().augmenter(UNCHANGED), EVALUATION)(
        small_network()
    )
    assert set(found.measures) == KEYS - {"heldout/gamma", "heldout/gamma_median"}
    assert found.notes == [
        "heldout: γ_f is not measured: augmentations do not move 135 of 135 pairs (0/0)"
    ]
    assert found.measures["heldout/alignment"] == pytest.approx(0, abs=1e-5)
    assert found.measures["heldout/equivariance"] == pytest.approx(0, abs=1e-10)
    assert found.measures["heldout/positive_cosine"] == pytest.approx(1, abs=1e-5)


def test_one_point_has_uniformity_1_and_no_gamma() -> None:
    found = Monitor(colored_dataset(), augmenter(colored_dataset()), EVALUATION)(color_network())
    assert found.measures["heldout/uniformity"] == pytest.approx(1)
    assert "heldout/gamma" not in found.measures
    assert "all 10 embeddings are one point" in found.notes[0]


class Scaled(nn.Module):
    """Finite weights whose outputs are not finite, or too long for float32's squares."""

    feature_dim = 3

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * (1 + images.mean((2, 3)).abs())


@pytest.mark.parametrize(
    ("factor", "what"),
    [(math.inf, "finite"), (math.nan, "finite"), (1e30, "of unit length"), (0, "of unit length")],
)
def test_embeddings_that_are_no_unit_vectors_end_the_trial(factor: float, what: str) -> None:
    head = nn.Linear(3, 2, bias=False)
    nn.init.ones_(head.weight)
    monitor = Monitor(colored_dataset(), augmenter(colored_dataset()), EVALUATION)
    with pytest.raises(DivergedError, match=f"60 of 60 embeddings are not {what}"):
        monitor(Network(Scaled(factor), head))
