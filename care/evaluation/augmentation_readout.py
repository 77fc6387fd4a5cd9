"""Predict the parameters of an augmentation from the features before and after it.

Protocol, after seq-JEPA (arXiv 2505.03176) and SIE (arXiv 2302.10283): each image is augmented on
its own, and a probe of the concatenated features of two views predicts the parameters. Here the
first view is the plain image, so parameters relative to it are those of the augmentation [A].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from care.augmentation import AugmentationTable, ImageAugmenter
from care.evaluation.features import Features, extract_augmented
from care.evaluation.linear_probe import ProbeInputs, fit_classifier, fit_regression, r2
from care.evaluation.measure import Trained
from care.evaluation.mlp_probe import MlpProbe
from care.evaluation.results import Results, UndefinedError
from care.registry import AUGMENTATION_TARGETS
from care.system.rng import generator

IMAGES = 10_000
"""Most images of each split."""


class Views(NamedTuple):
    """Features of one space before and after augmentations, and the parameters of these.

    Attributes:
        features: Concatenated features of the plain and the augmented image, [N,2F].
        table: N augmentations.
    """

    features: Tensor
    table: AugmentationTable


def measure_augmentation(trained: Trained) -> Results:
    """Measure R² of crop box, jitter, hue shift and blur, and accuracy of flip, of test images."""
    train = _extract_views(trained, trained.dataset.train.images, "train")
    test = _extract_views(trained, trained.dataset.test.images, "test")
    l2 = trained.config.evaluation.probe_l2
    results = Results()
    for name, seen, unseen in zip(Features._fields, train, test, strict=True):
        results.add(score_augmentation(name, seen, unseen, l2))
    return results


def _extract_views(trained: Trained, images: Tensor, split: str) -> list[Views]:
    """Augment up to 10,000 images and extract both views, in each space."""
    augmenter = trained.dataset.augmenter(trained.config.augmentation)
    assert isinstance(augmenter, ImageAugmenter)
    chosen = torch.arange(len(images))
    if len(images) > IMAGES:
        drawn = generator(0, f"augmentation-{split}").permutation(len(images))[:IMAGES]
        chosen = torch.from_numpy(drawn).sort().values
    part = images[chosen.to(images.device)]
    table = augmenter.sample(len(part), generator(0, f"augmentation-readout-{split}"))
    plain = extract_augmented(trained.network, augmenter, augmenter.identity(), part)
    moved = extract_augmented(trained.network, augmenter, table, part)
    return [
        Views(torch.cat([before, after], dim=1), table)
        for before, after in zip(plain, moved, strict=True)
    ]


def target_of(name: str, table: AugmentationTable) -> Tensor:
    """Return the parameters that a target names, float64 [N,outputs].

    Args:
        name: ``crop``: top, left, height, width, as fractions of the image; ``jitter``: brightness,
            contrast, saturation, hue shift; ``hue``: hue shift alone; ``blur``: σ in pixels, 0
            without blur; ``flip``: 1 if mirrored.
        table: N augmentations.
    """
    match name:
        case "crop":
            height, width = table.size
            return table.crop.double() / torch.tensor([height, width, height, width])
        case "jitter":
            return table.jitter.double()
        case "hue":
            return table.jitter[:, 3:].double()
        case "blur":
            return table.sigma[:, None].double()
        case "flip":
            return table.flip[:, None].double()
    raise ValueError(f"got {name!r}; allowed: {', '.join(AUGMENTATION_TARGETS)}")


def score_augmentation(space: str, train: Views, test: Views, l2: float) -> Results:
    """Fit a linear probe and a perceptron to each target, and score them on test pairs.

    A target that the augmentations never vary is left out, with a note.

    Args:
        space: Prefix of the measures' names.
        train: Pairs to fit.
        test: Pairs to score.
        l2: Penalty of the linear probes.
    """
    results = Results()
    count, size = train.features.shape
    if count <= size:
        reason = f"{count} images are no more than the {size} features of a pair"
        results.notes.append(f"{space}: augmentation parameters are not measured: {reason}")
        return results
    targets: dict[str, tuple[Tensor, Tensor]] = {}
    for name in AUGMENTATION_TARGETS:
        pair = target_of(name, train.table), target_of(name, test.table)
        if all(bool((values.std(0) > 0).any()) for values in pair):
            targets[name] = pair
        else:
            reason = "the augmentations never vary it"
            results.notes.append(f"{space}: {name} is not read from features: {reason}")
    inputs = ProbeInputs(train.features)
    for name, (seen, unseen) in targets.items():
        linear = partial(_predict_linear, name, inputs, seen, test.features, l2)
        perceptron = partial(_predict_mlp, name, train.features, seen, test.features)
        for suffix, predict in (("", linear), ("_mlp", perceptron)):
            results.measure(space, partial(_score, name, suffix, predict, unseen))
    return results


def _predict_linear(
    name: str, inputs: ProbeInputs, targets: Tensor, features: Tensor, l2: float
) -> Tensor:
    """Predict by ridge regression; flip by the sign of logistic regression, as 0 or 1."""
    if name == "flip":
        logits = fit_classifier(inputs, targets.flatten().long(), l2)(features)
        return logits.argmax(1, keepdim=True).double()
    return fit_regression(inputs, targets, l2)(features)


def _predict_mlp(name: str, train: Tensor, targets: Tensor, features: Tensor) -> Tensor:
    """Predict by a perceptron of its own; flip by the nearer of 0 and 1."""
    predicted = MlpProbe(train, targets)(features)
    return (predicted > 1 / 2).double() if name == "flip" else predicted


def _score(name: str, suffix: str, predict: Callable[[], Tensor], true: Tensor) -> dict[str, float]:
    predicted = predict()
    true = true.to(predicted.device)
    if name == "flip":
        return {f"augmentation_flip_accuracy{suffix}": float((predicted == true).double().mean())}
    varied = true.std(0) > 0
    if not bool(varied.any()):
        raise UndefinedError(f"{name} does not vary over the test images")
    value = r2(predicted[:, varied], true[:, varied], name)
    return {f"augmentation_{name}_r2{suffix}": value}
