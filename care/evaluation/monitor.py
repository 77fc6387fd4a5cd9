"""Measure held-out images after every epoch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from care.augmentation import Augmenter
from care.config import EvaluationConfig
from care.data.dataset import Dataset
from care.evaluation.features import computing_in, extract, is_one_point
from care.evaluation.results import Results, UndefinedError
from care.evaluation.rotation import gamma
from care.models import Network
from care.objectives.alignment import alignment, positive_cosine, uniformity
from care.objectives.equivariance import equivariance_loss
from care.system.rng import generator


class Monitor:
    """Measures fixed test images under fixed augmentations, independent of trial and seed.

    The images are augmented once and stored as float32 on the data's device. So an epoch costs
    A + 3 forward passes of the n monitored images (A + 4 if A = 1) and no augmentation. Each stored
    image takes 12·H·W bytes: 5.5 MB for 256 digits and A = 4, 22 MB for CIFAR.
    """

    def __init__(
        self, dataset: Dataset, augmenter: Augmenter[Any], evaluation: EvaluationConfig
    ) -> None:
        """Choose and augment the images.

        Args:
            dataset: Data set; its first ``monitor_images`` test images, or all, are used.
            augmenter: Draws and applies the augmentations.
            evaluation: Numbers of images and augmentations.
        """
        self._precision = evaluation.precision
        images = dataset.test.images[: evaluation.monitor_images]
        self._augmentations = evaluation.monitor_augmentations

        def view(purpose: str, rows: int, *indices: int) -> Tensor:
            table = augmenter.sample(rows, generator(0, purpose, *indices))
            return augmenter.apply(table, images)

        clean = augmenter.apply(augmenter.identity(), images)
        # L_equi compares two augmentations even if γ_f averages over one.
        shared = [view("monitor", 1, index) for index in range(max(2, self._augmentations))]
        positives = [view(f"monitor-view-{index}", len(images)) for index in (1, 2)]
        self._count = len(images)
        self._inputs = torch.cat([clean, *shared, *positives])

    def __call__(self, network: Network) -> Results:
        """Measure the embeddings on the sphere with eval-mode BatchNorm; the network is unchanged.

        Returns:
            ``heldout/gamma`` and ``heldout/gamma_median``: γ_f of clean images and shared
            augmentations. ``heldout/equivariance``: L_equi as trained, mean over pairs, between the
            first two of these over all images. ``heldout/alignment`` and
            ``heldout/positive_cosine``: between two views with one augmentation per image.
            ``heldout/uniformity``: of the first of these views. An undefined γ_f is absent, with a
            note.

        Raises:
            DivergedError: Embeddings are not finite or not of unit length.
        """
        with computing_in(network, "evaluation.precision", self._precision):
            embeddings = extract(network, self._inputs).head
        clean, *shared, view1, view2 = torch.split(embeddings, self._count)
        results = Results()
        augmented = torch.stack(shared[: self._augmentations])
        results.measure("heldout", lambda: _gamma(clean, augmented))
        measures = {
            "alignment": float(alignment(view1, view2)),
            "uniformity": float(uniformity(view1)),
            "positive_cosine": float(positive_cosine(view1, view2)),
            "equivariance": float(equivariance_loss(shared[0], shared[1], 1, "mean")),
        }
        results.measure("heldout", lambda: measures)
        return results


def _gamma(clean: Tensor, augmented: Tensor) -> dict[str, float]:
    if is_one_point(clean):
        raise UndefinedError(f"γ_f is not measured: all {len(clean)} embeddings are one point")
    relative = gamma(clean, augmented)
    return {"gamma": relative.mean, "gamma_median": relative.median}
