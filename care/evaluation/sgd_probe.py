"""Train linear probes by gradient descent on augmented images, for Table 1 (docs/paper.md §5).

All initializations are trained together on shared features. Each has its own weights, and the
optimizers work elementwise, so each equals a probe trained alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from care.augmentation import Augmenter
from care.config import AugmentationConfig, Protocol, TrainedProbeConfig
from care.data.dataset import Dataset, ImageSet
from care.evaluation.features import PlainFeatures
from care.evaluation.resume import Progress
from care.models import Network
from care.optimizer import build_optimizer
from care.system.rng import generator

_DECAY = 0.1


class LinearProbes(nn.Module):
    """Several linear classifiers of shared features, initialized like torch's ``Linear``.

    Attributes:
        weight: float32 [I,C,F].
        bias: float32 [I,C].
    """

    def __init__(self, features: int, classes: int, initializations: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(features)
        weights, biases = [], []
        for index in range(initializations):
            rng = generator(0, "probe-init", index)
            weights.append(torch.from_numpy(rng.uniform(-bound, bound, (classes, features))))
            biases.append(torch.from_numpy(rng.uniform(-bound, bound, classes)))
        self.weight = nn.Parameter(torch.stack(weights).float())
        self.bias = nn.Parameter(torch.stack(biases).float())

    def forward(self, features: Tensor) -> Tensor:
        """Compute the logits [I,n,C] of features [n,F]."""
        return torch.matmul(features, self.weight.mT) + self.bias.unsqueeze(1)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Compute the sum over initializations of the mean cross-entropy, a scalar.

        Args:
            features: [n,F].
            labels: Classes, int64 [n].
        """
        logits = self(features)
        repeated = labels.expand(len(logits), -1)
        total = fn.cross_entropy(logits.flatten(0, 1), repeated.flatten(), reduction="sum")
        return total / len(labels)


class ProbeScores(NamedTuple):
    """Test accuracy of each initialization.

    Attributes:
        top1: Share of samples whose class has the largest logit, float64 [I] in [0, 1].
        top5: Share of samples whose class is among the five largest, float64 [I] in [0, 1].
        finite: All logits are finite, so the training has not diverged, bool [I].
    """

    top1: Tensor
    top5: Tensor
    finite: Tensor


def train_probes(
    network: Network,
    dataset: Dataset,
    augmentation: AugmentationConfig,
    config: TrainedProbeConfig,
    protocol: Protocol,
    progress: Progress | None = None,
    plain: PlainFeatures | None = None,
) -> ProbeScores:
    """Train probes on augmented labelled images and test them on images without augmentation.

    Args:
        network: Unchanged; only its encoder is used.
        dataset: On any device.
        augmentation: Distribution of the augmentations, unless ``config`` has its own.
        config: Epochs, batch size, optimizer.
        protocol: ``paper``: the encoder is frozen, including BatchNorm. ``authors``: the encoder
            stays in training mode. So batch statistics normalize training features, and the
            running statistics, which the test uses, drift [C].
        progress: Saves and stops between epochs.
        plain: Cached features of the network, valid for a frozen encoder.

    Raises:
        care.evaluation.resume.Paused: ``progress`` stopped the training.
    """
    progress = progress or Progress()
    device = next(network.parameters()).device
    frozen = copy.deepcopy(network).requires_grad_(False)
    augmenter = dataset.augmenter(config.augmentation or augmentation)
    probes = LinearProbes(network.feature_dim, len(dataset.classes), config.initializations)
    probes = probes.to(device)
    optimizer = build_optimizer(config.optimizer, probes.parameters(), device)
    train = dataset.train.labelled()
    parts = {"probes": probes, "optimizer": optimizer, "frozen": frozen}
    name = f"probe-{protocol}"
    first_epoch = _resume(parts, progress.probe(name, device))
    frozen.train(protocol == "authors")
    with torch.enable_grad():
        for epoch in range(first_epoch, config.epochs):
            progress.save_probe(name, epoch, partial(_state, parts, epoch))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, epoch)
            for features, labels in _batches(frozen, train, augmenter, config.batch_size, epoch):
                optimizer.zero_grad(set_to_none=True)
                probes.loss(features, labels).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    if plain is None or protocol == "authors":  # the authors' running statistics have drifted
        plain = PlainFeatures(frozen, augmenter)
    return _score(probes, plain(dataset.test.images).encoder, dataset.test.labels)


def _state(parts: dict[str, Any], epoch: int) -> dict[str, Any]:
    """Return the state for the next epoch, including BatchNorm's statistics, which may drift."""
    return {"epoch": epoch, **{name: part.state_dict() for name, part in parts.items()}}


def _resume(parts: dict[str, Any], state: dict[str, Any] | None) -> int:
    """Load a saved state; return the number of completed epochs."""
    if state is None:
        return 0
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["epoch"])


def learning_rate(config: TrainedProbeConfig, epoch: int) -> float:
    """Compute the learning rate of an epoch, from 0: divided by 10 at each milestone."""
    past = sum(epoch >= milestone for milestone in config.milestones)
    return config.optimizer.learning_rate * _DECAY**past


def _batches(
    frozen: Network, train: ImageSet, augmenter: Augmenter[Any], size: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield features [n,F] and labels [n] of each batch, including a smaller last one.

    A last batch of a single image is skipped: batch statistics need two.
    """
    device = next(frozen.parameters()).device
    order = torch.from_numpy(generator(0, "probe-order", epoch).permutation(len(train)))
    for step, index in enumerate(torch.split(order, size)):
        if len(index) < 2:
            continue
        table = augmenter.sample(len(index), generator(0, "probe-view", epoch, step))
        with torch.no_grad():
            features = frozen.features(augmenter.apply(table, train.batch(index, device)))
        yield features, train.labels[index.to(train.labels.device)].to(device)


def _score(probes: LinearProbes, features: Tensor, labels: Tensor) -> ProbeScores:
    with torch.no_grad():
        logits = probes(features)
    labels = labels.to(logits.device)
    finite = logits.isfinite().flatten(1).all(1)
    return ProbeScores(top_k_accuracy(logits, labels, 1), top_k_accuracy(logits, labels, 5), finite)


def top_k_accuracy(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """Compute the share of samples whose class is among the ``k`` largest logits, float64 [...].

    Args:
        logits: [...,n,C]; with C <= k the result is 1.
        labels: Classes, int64 [n].
        k: Number of logits, >= 1.
    """
    best = logits.topk(min(k, logits.shape[-1]), dim=-1).indices
    return (best == labels.unsqueeze(1)).any(-1).double().mean(-1)
