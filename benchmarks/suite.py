"""Transfer on cached features: the choice among the penalties and the last fit, on one core."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.measure import SECONDS, Result, ratios, summarize
from care.evaluation.linear_probe import ProbeInputs, fit_classifier
from care.evaluation.logistic_regression import minimize
from care.evaluation.transfer import PENALTIES, choose_penalty, class_accuracy, l2_per_sample

# Describable Textures with the features of a ResNet-18 of half its width.
_CLASSES, _TRAIN, _VALIDATION, _FEATURES = 47, 1880, 1880, 256
_LEAST_L2, _SHARE, _TOLERANCE = 1e-6, 0.03, 1e-5  # as care.evaluation.transfer has them
_SAME = 0.004  # at borders of classes few images may change sides within the tolerance


def suite() -> list[Result]:
    """Time one set of the suite against fits that all start from zero."""
    features, labels = _features()
    held_out = torch.arange(len(labels)) >= _TRAIN

    def ours() -> list[float]:
        choice = choose_penalty(features, labels, held_out, per_class=False)
        fit_classifier(features, labels, l2_per_sample(choice.penalty, len(labels)))
        return choice.accuracies

    def theirs() -> list[float]:
        return _from_zero(features, labels, held_out)

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        first, mine = _timed(ours)
        second, others = _timed(theirs)
    finally:
        torch.set_num_threads(before)
    pairs = zip(mine, others, strict=True)
    assert all(abs(one - other) <= _SAME for one, other in pairs), (mine, others)
    return [
        ratios("suite11", "each fit of the search from zero", [(first, second)]),
        summarize("suite11", "one set: 3,760 images, 47 classes", [first], SECONDS),
    ]


def _timed(action: Callable[[], list[float]]) -> tuple[float, list[float]]:
    start = time.perf_counter()
    found = action()
    return time.perf_counter() - start, found


def _features() -> tuple[Tensor, Tensor]:
    """Draw overlapping clouds with variances that fall, as an encoder's do."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(_TRAIN + _VALIDATION) % _CLASSES
    centers = 0.3 * torch.randn(_CLASSES, _FEATURES, generator=generator)
    noise = torch.randn(len(labels), _FEATURES, generator=generator)
    mixing = torch.randn(_FEATURES, _FEATURES, generator=generator)
    return (centers[labels] + noise) * torch.logspace(0, -2, _FEATURES) @ mixing, labels


def _from_zero(features: Tensor, labels: Tensor, held_out: Tensor) -> list[float]:
    inputs = ProbeInputs(features[~held_out])
    fitted, true = labels[~held_out], labels[held_out]
    unseen = inputs.standardization(features[held_out])
    accuracies = []
    for penalty in PENALTIES:
        l2 = l2_per_sample(penalty, len(fitted))
        if l2 < _LEAST_L2:
            break
        tolerance = min(_SHARE * l2, _TOLERANCE)
        weights = minimize(inputs.values, fitted, l2, inputs.covariance, tolerance)
        logits = unseen @ weights[:, :-1].T + weights[:, -1]
        accuracies.append(class_accuracy(logits.argmax(1), true, per_class=False))
    return accuracies
