"""What is measured once, when a training has ended."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from care.augmentation import Table
from care.config import AugmentationConfig, EvaluationConfig
from care.data import Dataset, ImageSet
from care.evaluation.features import Features, extract
from care.evaluation.knn import knn_accuracy
from care.evaluation.linear_probe import hue_r2, probe_accuracy
from care.evaluation.rotation import RotationMeasures
from care.models import Network
from care.randomness import generator

# γ_f looks at all pairs: 1,000 images make 499,500 of them for each augmentation.
_GAMMA_IMAGES = 1000


def evaluate(
    network: Network,
    dataset: Dataset,
    augmentation: AugmentationConfig,
    evaluation: EvaluationConfig,
) -> dict[str, float]:
    """Measure frozen features of the head's input, ``encoder``, and output on the sphere, ``head``.

    Args:
        network: On any device; left as it was.
        dataset: On any device.
        augmentation: Distribution of the augmentations of the rotation measures. They are a
            function of it alone, the same for all trials and seeds.
        evaluation: Settings of the measures.

    Returns:
        For each space, as ``encoder/...`` and ``head/...``: ``knn_accuracy`` and
        ``probe_accuracy`` in [0, 1] and, for data with a known hue, ``hue_r2``, fitted on the
        training images and measured on the test images; ``wahba``, the mean residual over random
        augmentations of the test images, ``wahba_per_sqrt_n``, that by √n, ``gamma`` and
        ``gamma_median``, of the first 1,000 test images. The rotation measures normalize the
        encoder's features to the unit sphere first.
    """
    augmenter = dataset.augmenter(augmentation)

    def features(part: ImageSet, table: Table) -> Features:
        """Of a part's images under one augmentation that all of them share."""
        return extract(network, part.images, partial(augmenter.apply, table))

    train = features(dataset.train, augmenter.identity())
    test = features(dataset.test, augmenter.identity())
    rotations = [RotationMeasures(space, _GAMMA_IMAGES) for space in test]
    for index in range(evaluation.rotation_augmentations):
        shared = augmenter.sample(1, generator(0, "rotation", index))
        for rotation, space in zip(rotations, features(dataset.test, shared), strict=True):
            rotation.add(space)
    metrics = {}
    for index, name in enumerate(Features._fields):
        readout = _readout(dataset, train[index], test[index], evaluation)
        measures = {**readout, **rotations[index].summary()}
        metrics.update({f"{name}/{measure}": value for measure, value in measures.items()})
    return metrics


def _readout(
    dataset: Dataset, train: Tensor, test: Tensor, evaluation: EvaluationConfig
) -> dict[str, float]:
    """Class and hue, read from features [N,F] of the training and [M,F] of the test images."""
    samples = (
        train,
        dataset.train.labels.to(train.device),
        test,
        dataset.test.labels.to(test.device),
    )
    k, temperature = evaluation.knn_neighbors, evaluation.knn_temperature
    measures = {
        "knn_accuracy": knn_accuracy(*samples, k, temperature),
        "probe_accuracy": probe_accuracy(*samples, evaluation.probe_l2),
    }
    if "hue" in dataset.train.factors:
        train_hue, test_hue = dataset.train.factors["hue"], dataset.test.factors["hue"]
        measures["hue_r2"] = hue_r2(train, train_hue, test, test_hue, evaluation.probe_l2)
    return measures
