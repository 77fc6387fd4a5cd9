"""The samples that are measured while a network trains, and its features of them."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from care.augmentation import Augmenter
from care.config import EvaluationConfig
from care.data.dataset import Dataset, ImageSet
from care.data.subset import select_balanced
from care.evaluation.features import Features, extract
from care.models import Network
from care.system.rng import generator


class Views(NamedTuple):
    """Embeddings of n test samples on the unit sphere.

    Attributes:
        clean: Without augmentation, [n,d].
        shared: Under augmentations that all samples share, [A,n,d]; at least two.
        positives: Under one augmentation per sample, twice, [2,n,d].
    """

    clean: Tensor
    shared: Tensor
    positives: Tensor


class Part(NamedTuple):
    """A class-balanced part of a split, without augmentation.

    Attributes:
        features: Features of n samples.
        labels: Their classes, int64 [n].
    """

    features: Features
    labels: Tensor


class MonitoredSamples:
    """Test samples under fixed augmentations, and fixed parts of both splits.

    They do not depend on trial or seed. The augmented samples are stored as float32 on the data's
    device, 12·H·W bytes an image and augmentation. The parts are read from the data set each time.
    """

    def __init__(
        self, dataset: Dataset, augmenter: Augmenter[Any], evaluation: EvaluationConfig
    ) -> None:
        self.dataset, self.augmenter, self.evaluation = dataset, augmenter, evaluation

    @cached_property
    def views(self) -> Tensor:
        """The first test samples: clean, under shared augmentations, and two positives."""
        images, augmenter = (
            self.dataset.test.images[: self.evaluation.monitor_images],
            self.augmenter,
        )

        def view(purpose: str, rows: int, *indices: int) -> Tensor:
            table = augmenter.sample(rows, generator(0, purpose, *indices))
            return augmenter.apply(table, images)

        clean = augmenter.apply(augmenter.identity(), images)
        # L_equi compares two augmentations even if γ_f averages over one.
        count = max(2, self.evaluation.monitor_augmentations)
        shared = [view("monitor", 1, index) for index in range(count)]
        positives = [view(f"monitor-view-{index}", len(images)) for index in (1, 2)]
        return torch.cat([clean, *shared, *positives])

    @cached_property
    def train(self) -> Tensor:
        """Indices of the labelled training part, int64 [n]."""
        return choose_part(self.dataset.train, self.evaluation.monitor.train_part)

    @cached_property
    def test(self) -> Tensor:
        """Indices of the test part, int64 [n]."""
        return choose_part(self.dataset.test, self.evaluation.monitor.test_part)


def choose_part(split: ImageSet, count: int) -> Tensor:
    """Choose the labelled samples of a split, or all without labels; at most ``count``.

    Returns:
        Indices, ascending, int64 [n].
    """
    known = (split.labels >= 0).nonzero().flatten().cpu()
    index = known if len(known) else torch.arange(len(split))
    if len(index) <= count:
        return index
    return index[select_balanced(split.labels.cpu()[index], count)]


class Monitored:
    """Features of one network on the monitored samples, extracted when a measure needs them.

    Args:
        network: Unchanged; it must not change while this object is used.
        samples: The samples.

    Attributes:
        evaluation: Settings of the measures.
        share: Number of samples in the training part over that of all labelled ones.
    """

    def __init__(self, network: Network, samples: MonitoredSamples) -> None:
        self._network, self._samples = network, samples
        self.evaluation = samples.evaluation

    @property
    def share(self) -> float:
        """The training part's share of all labelled training samples, in (0, 1]."""
        return len(self._samples.train) / int((self._samples.dataset.train.labels >= 0).sum())

    @cached_property
    def views(self) -> Views:
        """Embeddings of augmented test samples.

        Raises:
            DivergedError: Embeddings are not finite or not of unit length.
        """
        inputs = self._samples.views
        count = max(2, self.evaluation.monitor_augmentations) + 3
        head = extract(self._network, inputs).head
        embeddings = head.reshape(count, -1, head.shape[1])
        return Views(embeddings[0], embeddings[1:-2], embeddings[-2:])

    @cached_property
    def train(self) -> Part:
        """Features of the training part; see :attr:`views` for the error."""
        return self._features(self._samples.dataset.train, self._samples.train)

    @cached_property
    def test(self) -> Part:
        """Features of the test part; see :attr:`views` for the error."""
        return self._features(self._samples.dataset.test, self._samples.test)

    def _features(self, split: ImageSet, index: Tensor) -> Part:
        device = next(self._network.parameters()).device
        augmenter, identity = self._samples.augmenter, self._samples.augmenter.identity()

        def load(chosen: Tensor) -> Tensor:
            return augmenter.apply(identity, split.batch(chosen, device))

        features = extract(self._network, index, load)
        return Part(features, split.labels.cpu()[index].to(device))
