"""A whole step of Algorithm 1 (docs/paper.md §3) against loops in float64, gradient included."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as fn

from care.augmentation import ImageAugmenter
from care.augmentation.rotation import RotationAugmenter
from care.config import DataConfig, TrialConfig
from care.config.loading import validate
from care.data.dataset import load_dataset
from care.data.shared_batches import Batch
from care.models import Network
from care.objectives.inputs import Inputs, make_inputs
from care.objectives.moco import MoCo
from care.objectives.objective import Objective
from care.system.rng import generator
from tests.conftest import TINY
from tests.helpers.points import points

BATCH, SPLITS, WEIGHT = 8, 2, 0.7
SEED, EPOCH, STEP = 3, 1, 5
Array = NDArray[np.float64]


class Pooled(nn.Module):
    """A linear encoder of 4 × 4 pixels, without BatchNorm: an image is embedded on its own."""

    feature_dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(48, 6)
        with torch.no_grad():
            self.layer.weight.copy_(points(6, 48, 0) / 7)

    def forward(self, images: Tensor) -> Tensor:
        pooled: Tensor = fn.adaptive_avg_pool2d(images.double(), 4).flatten(1)
        return torch.tanh(self.layer(pooled))


def network() -> Network:
    head = nn.Linear(6, 4, bias=False)
    with torch.no_grad():
        head.weight.copy_(points(4, 6, 1))
    return Network(Pooled(), head).double()


class Step:
    """One step of one objective, and the same by hand."""

    def __init__(self, objective: dict[str, Any]) -> None:
        equivariance = {"weight": WEIGHT, "splits": SPLITS, **objective.get("equivariance", {})}
        tree = {**TINY, "objective": {**objective, "equivariance": equivariance}}
        tree["training"] = {"epochs": 2, "batch_size": BATCH}
        self.config = validate(TrialConfig, tree, "test")
        dataset = load_dataset(DataConfig(), Path())
        augmenter = dataset.augmenter(self.config.augmentation)
        assert isinstance(augmenter, ImageAugmenter)
        self.augmenter = augmenter
        self.images = dataset.train.images[:BATCH]
        self.network = network()
        self.objective = Objective(self.config.objective, self.network, SEED).double()
        if isinstance(self.objective.base, MoCo):  # later in a training, the copy is another
            self.network.head.weight.data += points(4, 6, 2)  # type: ignore[operator]

    def inputs(self, epoch: int = EPOCH, step: int = STEP) -> Inputs:
        batch = Batch(self.images, SEED, epoch, step)
        return make_inputs(self.objective.input_specs(), batch, self.augmenter)

    def loss(self) -> Tensor:
        terms: dict[str, Tensor] = self.objective(self.network, self.inputs())
        return terms["train/loss"]

    def by_hand(self) -> float:
        settings = self.config.objective
        equivariance = settings.equivariance
        rows = SPLITS if equivariance.augmentation == "per_chunk" else 1
        chunks = [self.view(f"chunk-{i}", rows) for i in (1, 2)]
        base = chunks if equivariance.shared_views else [self.view(f"view-{i}") for i in (1, 2)]
        total = self.base_loss(settings.name, *base)
        first, second = (self.features(view) for view in chunks)
        if equivariance.space == "head":
            first, second = first @ self.head().T, second @ self.head().T
        return total + WEIGHT * l_equi(on_sphere(first), on_sphere(second), equivariance.scale)

    def view(self, purpose: str, rows: int = BATCH) -> list[Tensor]:
        """Each image augmented on its own, by the row that is its chunk's."""
        table = self.augmenter.sample(rows, generator(SEED, purpose, EPOCH, STEP))
        return [
            self.augmenter.apply(table.rows(slice(row, row + 1)), self.images[i : i + 1])
            for i, row in ((i, i * rows // BATCH) for i in range(BATCH))
        ]

    def features(self, view: list[Tensor]) -> Array:
        with torch.no_grad():
            return torch.cat([self.network.encoder(image) for image in view]).numpy()

    def head(self) -> Array:
        weight = self.network.head.weight
        assert isinstance(weight, Tensor)
        return weight.detach().numpy()

    def base_loss(self, name: str, first: list[Tensor], second: list[Tensor]) -> float:
        p1, p2 = (self.features(view) @ self.head().T for view in (first, second))
        z1, z2 = on_sphere(p1), on_sphere(p2)
        if name == "simclr":
            return nt_xent(np.concatenate([z1, z2]), 0.5)
        if name == "barlow_twins":
            return barlow(p1, p2)
        if name == "uniformity":
            return (l_unif(z1) + l_unif(z2)) / 2
        if name == "none":
            return 0.0
        moco = self.objective.base
        assert isinstance(moco, MoCo)
        with torch.no_grad():
            keys = [moco.encoder.network.embed(image).sphere[0].numpy() for image in second]
        return against_queue(z1, keys, moco.queue.numpy())


def on_sphere(z: Array) -> Array:
    return np.asarray(z / np.linalg.norm(z, axis=1, keepdims=True))


def l_equi(z1: Array, z2: Array, scale: str) -> float:
    size, total = BATCH // SPLITS, 0.0
    for chunk in range(SPLITS):
        for i in range(size):
            for j in range(size):
                if i != j:
                    a, b = chunk * size + i, chunk * size + j
                    total += (z1[a] @ z1[b] - z2[a] @ z2[b]) ** 2
    if scale == "authors":  # 2 · mean_i Σ_{j≠i}
        return float(2 * total / size / SPLITS)
    return float(total / (size * (size - 1)) / SPLITS)


def nt_xent(z: Array, temperature: float) -> float:
    total = 0.0
    for i in range(len(z)):
        positive = math.exp(z[i] @ z[(i + BATCH) % len(z)] / temperature)
        others = sum(
            math.exp(z[i] @ z[j] / temperature) for j in range(len(z)) if j % BATCH != i % BATCH
        )
        total -= math.log(positive / (positive + others))
    return total / len(z)


def barlow(p1: Array, p2: Array) -> float:
    a, b = ((p - p.mean(0)) / np.sqrt(p.var(0) + 1e-5) for p in (p1, p2))
    total = 0.0
    for i in range(a.shape[1]):
        for j in range(a.shape[1]):
            c = float(np.mean(a[:, i] * b[:, j]))
            total += (1 - c) ** 2 if i == j else 0.0051 * c**2
    return total


def l_unif(z: Array) -> float:
    pairs = [math.exp(z[i] @ z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
    return math.log(sum(pairs) / len(pairs))


def against_queue(queries: Array, keys: list[Array], queue: Array) -> float:
    total = 0.0
    for query, key in zip(queries, keys, strict=True):
        positive = math.exp(query @ key / 0.1)
        total -= math.log(positive / (positive + sum(math.exp(query @ k / 0.1) for k in queue)))
    return total / len(queries)


CASES: dict[str, dict[str, Any]] = {
    "care-simclr": {"name": "simclr"},
    "care-simclr-mean": {"name": "simclr", "equivariance": {"scale": "mean"}},
    "care-simclr-one-pair": {"name": "simclr", "equivariance": {"augmentation": "per_batch"}},
    "care-simclr-before-the-head": {"name": "simclr", "equivariance": {"space": "encoder"}},
    "care-simclr-shared": {"name": "simclr", "equivariance": {"shared_views": True}},
    "care-moco": {"name": "moco_v2", "queue": 16},
    "care-moco-shared": {"name": "moco_v2", "queue": 16, "equivariance": {"shared_views": True}},
    "care-barlow": {"name": "barlow_twins"},
    "equivariance-uniformity": {"name": "uniformity"},
    "equivariance": {"name": "none"},
}


@pytest.mark.parametrize("name", CASES)
def test_the_loss_of_a_step(name: str) -> None:
    step = Step(CASES[name])
    assert step.loss().item() == pytest.approx(step.by_hand(), rel=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_its_gradient_is_the_slope_of_the_loops(name: str) -> None:
    """Through encoder and head, along a direction in which all weights move."""
    step = Step(CASES[name])
    parameters = list(step.network.parameters())
    gradients = torch.autograd.grad(step.loss(), parameters, allow_unused=True)
    directions = [points(p.numel(), 1, 9 + i).reshape(p.shape) for i, p in enumerate(parameters)]
    slope = sum(
        float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None
    )
    tiny, values = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.add_(direction, alpha=sign * tiny)
        values.append(step.by_hand())
    assert slope == pytest.approx((values[0] - values[1]) / (2 * tiny), rel=1e-5)


def test_every_step_draws_its_pairs_anew() -> None:
    step = Step(CASES["care-simclr"])
    drawn = [
        tuple(step.inputs(*place)[f"chunk-{i}"].flatten().tolist())
        for place in ((0, 0), (0, 1), (1, 0))
        for i in (1, 2)
    ]
    assert len(set(drawn)) == len(drawn)


class Center(nn.Module):
    """The middle of a cloud: turning the cloud turns it."""

    feature_dim = 3

    def forward(self, clouds: Tensor) -> Tensor:
        return clouds[..., :3].mean(1)


@pytest.mark.parametrize("augmentation", ["per_chunk", "per_batch"])
@pytest.mark.parametrize("space", ["head", "encoder"])
def test_augmentations_that_are_exact_rotations_cost_nothing(augmentation: str, space: str) -> None:
    settings = {"augmentation": augmentation, "space": space}
    step = Step({"name": "none", "equivariance": settings})
    turning = Network(Center(), nn.Identity())
    clouds = points(BATCH * 5, 4, 0).reshape(BATCH, 5, 4).float()
    batch = Batch(clouds, SEED, EPOCH, STEP)
    inputs = make_inputs(step.objective.input_specs(), batch, RotationAugmenter())
    terms = step.objective(turning, inputs)
    assert terms["train/equivariance"] < 1e-12
    assert terms["train/positive_cosine"] < 0.9, "the rotations did something"
