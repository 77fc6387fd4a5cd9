"""Measure what frozen features predict of other data sets, in the protocol of transfer learning.

The protocol is that of Kornblith et al. (Do Better ImageNet Models Transfer Better?, CVPR 2019,
appendix A.6), which Lee et al. (AugSelf, NeurIPS 2021, section 4.1) and later papers take over.
Logistic regression of frozen features is fitted with each of up to 45 penalties. That with the best
accuracy on a validation part is chosen, and the fit is repeated on all training images. The
accuracy is the share of right test images or, where the field has that custom, its mean over the
classes.

It differs from theirs in this: features are standardized and biases have no penalty, as in all
probes here; images are resized with bilinear filtering; of equal accuracies the largest penalty
wins; without an official validation part a fifth of each class is drawn; penalties below 10⁻⁶ per
sample are left out, whose minimum is out of reach.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from care.config import DataConfig
from care.config.suites import whole_suites
from care.data.dataset import ImageSet
from care.evaluation.features import PlainFeatures
from care.evaluation.linear_probe import ProbeInputs, fit_classifier
from care.evaluation.logistic_regression import minimize
from care.evaluation.measure import Trained
from care.evaluation.results import Results, UndefinedError
from care.registry import SUITES
from care.system.rng import generator

PENALTIES = tuple(np.logspace(5, -6, 45).tolist())
"""Weights w of ‖W‖² beside the summed cross-entropy, from the largest on."""

_VALIDATION_SHARE = 5  # one of so many images of a class
# Without a penalty of this size per sample the minimum is so far out that no fit reaches it. The
# accuracies would be those of the fit's path, not of the penalty.
_LEAST_L2 = 1e-6
# Largest entry of the gradient in the search for a penalty, as a share of it and at most.
_RELATIVE_TOLERANCE, _TOLERANCE = 0.03, 1e-5
_PREFIX = "encoder/transfer_"


class Choice(NamedTuple):
    """A penalty chosen on a validation part.

    Attributes:
        penalty: The chosen one of :data:`PENALTIES`.
        penalties: Those that were tried.
        accuracies: Validation accuracy of each of them.
    """

    penalty: float
    penalties: list[float]
    accuracies: list[float]


def measure_transfer(trained: Trained) -> Results:
    """Fit the classes of other data sets on frozen features, normalized like the trial's own.

    Each data set is a part of its own for ``trained.progress``, so that an interrupted suite
    continues with the first one that is missing. A suite's measure is the mean over its sets.

    Raises:
        care.evaluation.resume.Paused: ``trained.progress`` stopped the evaluation.
    """
    data = trained.config.transfer_data
    results = Results()
    for index, each in enumerate(data):
        measure = partial(_measure, trained, each, index)
        results.add(trained.progress.part(f"transfer-{index}", measure))
    for suite in whole_suites(data):
        names = [f"{_PREFIX}{name}" for name in SUITES[suite]]
        if all(name in results.measures for name in names):
            values = [results.measures[name] for name in names]
            results.measures[f"{_PREFIX}{suite}"] = float(np.mean(values))
    return results


def _measure(trained: Trained, data: DataConfig, index: int) -> Results:
    other = trained.transfer[index]
    plain = PlainFeatures(trained.network, trained.dataset.augmenter(trained.config.augmentation))
    train, name = other.train.labelled(), data.transfer_name
    seen, unseen = (plain(split.images).encoder for split in (train, other.test))
    per_class = data.source.per_class
    try:
        choice = choose_penalty(seen, train.labels, validation_part(train), per_class)
    except UndefinedError as reason:
        return Results(notes=[f"encoder: transfer to {name} is not measured: {reason}"])
    probe = fit_classifier(seen, train.labels, l2_per_sample(choice.penalty, len(seen)))
    accuracy = class_accuracy(probe(unseen).argmax(1), other.test.labels, per_class)
    path = np.stack([np.array(choice.penalties), np.array(choice.accuracies)], axis=1)
    return Results({f"{_PREFIX}{name}": accuracy}, {f"transfer/{name}": path})


def l2_per_sample(penalty: float, samples: int) -> float:
    """Convert a weight of ‖W‖² beside a sum over samples to that of ½‖W‖² beside their mean."""
    return 2 * penalty / samples


def choose_penalty(features: Tensor, labels: Tensor, validation: Tensor, per_class: bool) -> Choice:
    """Choose the penalty with the best accuracy on a validation part, of equal ones the largest.

    Args:
        features: Features of the training images, float [N,F].
        labels: Classes, int64 [N].
        validation: True for the validation part, bool [N].
        per_class: Compare the mean of the classes' accuracies.
    """
    held_out = validation.to(features.device)
    inputs = ProbeInputs(features[~held_out])
    labels = labels.to(inputs.values.device)
    fitted, true = labels[~held_out], labels[held_out]
    unseen = inputs.standardization(features[held_out])
    penalties = [
        penalty for penalty in PENALTIES if l2_per_sample(penalty, len(fitted)) >= _LEAST_L2
    ]
    weights, accuracies = None, []
    for penalty in penalties:
        l2 = l2_per_sample(penalty, len(fitted))
        tolerance = min(_RELATIVE_TOLERANCE * l2, _TOLERANCE)
        # From the minimum of the penalty before, which is near.
        weights = minimize(inputs.values, fitted, l2, inputs.covariance, tolerance, weights)
        logits = unseen @ weights[:, :-1].T + weights[:, -1]
        accuracies.append(class_accuracy(logits.argmax(1), true, per_class))
    return Choice(penalties[int(np.argmax(accuracies))], penalties, accuracies)


def validation_part(train: ImageSet) -> Tensor:
    """Select the validation part of labelled training samples: the official one, or a fifth.

    Of each class with two samples or more a fifth is drawn, but one at least. The draw depends on
    the labels alone. It is also taken if a configuration left the official part, or what is beside
    it, with fewer than two classes.

    Returns:
        True for the part, bool [N].

    Raises:
        UndefinedError: No two classes remain for the fit.
    """
    labels = train.labels.cpu()
    official = train.validation
    if official is not None and min(_classes(labels[official]), _classes(labels[~official])) > 1:
        return official
    order = torch.from_numpy(generator(0, "transfer-validation").permutation(len(labels)))
    drawn = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        members = order[labels[order] == label]
        count = max(len(members) // _VALIDATION_SHARE, int(len(members) > 1))
        drawn[members[:count]] = True
    if not bool(drawn.any()) or _classes(labels[~drawn]) < 2:
        raise UndefinedError("no class has two training images, one of them for validation")
    return drawn


def _classes(labels: Tensor) -> int:
    return len(torch.unique(labels))


def class_accuracy(predicted: Tensor, labels: Tensor, per_class: bool) -> float:
    """Compute the share of right predictions, or its mean over the classes of ``labels``.

    Args:
        predicted: Classes, int64 [N].
        labels: True classes, int64 [N].
        per_class: Give each class the weight of every other.
    """
    labels = labels.to(predicted.device)
    right = (predicted == labels).double()
    if not per_class:
        return float(right.mean())
    shares = [right[labels == label].mean() for label in torch.unique(labels)]
    return float(torch.stack(shares).mean())
