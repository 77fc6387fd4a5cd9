"""What can be read from frozen features: classes, hue and color, classes of other data sets."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as fn

from care.config import EvaluationConfig, Protocol
from care.data.dataset import Dataset, ImageSet
from care.evaluation.features import Features, PlainFeatures, has_directions, is_one_point
from care.evaluation.hue_retrieval import colorfulness
from care.evaluation.knn import knn_accuracy
from care.evaluation.linear_probe import (
    ProbeInputs,
    fit_classifier,
    fit_regression,
    hue_r2,
    r2,
)
from care.evaluation.measure import Trained
from care.evaluation.results import Outcome, UndefinedError
from care.evaluation.sgd_probe import ProbeScores, top_k_accuracy, train_probes

_TOP = 5


def measure_readout(trained: Trained) -> Outcome:
    """Fit classes, mean color and hue on training features; score them on test features.

    Returns:
        Nothing for a data set without classes.
    """
    dataset, evaluation = trained.dataset, trained.config.evaluation
    found = Outcome()
    if not dataset.classes:
        return found
    train, test, l2 = dataset.train.labelled(), dataset.test, evaluation.probe_l2
    features = [trained.plain(part.images) for part in (train, test)]
    colors = [_components(part.images) for part in (train, test)]
    for space, name in enumerate(Features._fields):
        seen, unseen = features[0][space], features[1][space]
        inputs = ProbeInputs(seen)
        for compute in (
            partial(_nearest, seen, train, unseen, dataset, evaluation),
            partial(_classes, inputs, train, unseen, dataset, evaluation),
            partial(_colors, inputs, unseen, colors, l2),
            partial(_hue, inputs, train, unseen, test, l2),
        ):
            found.measure(name, compute)
    return found


def measure_transfer(trained: Trained) -> Outcome:
    """Fit the classes of other data sets on frozen features, each set normalized as our own.

    Raises:
        care.evaluation.resume.Paused: The evaluation has to stop.
    """
    config = trained.config
    augmenter = trained.dataset.augmenter(config.augmentation)
    found = Outcome()
    for data, other in zip(config.transfer_data, trained.transfer, strict=True):
        trained.progress.check()
        plain = PlainFeatures(trained.network, augmenter)
        accuracy = _transferred(plain, other, config.evaluation.probe_l2)
        found.measures[f"encoder/transfer_{data.transfer_name}"] = accuracy
    return found


def measure_paper_probe(trained: Trained) -> Outcome:
    """Train linear probes in the protocol of the paper."""
    return _probed(trained, "paper")


def measure_authors_probe(trained: Trained) -> Outcome:
    """Train linear probes in the protocol of the authors' code."""
    return _probed(trained, "authors")


def _probed(trained: Trained, protocol: Protocol) -> Outcome:
    dataset, config = trained.dataset, trained.config
    found = Outcome()
    if not dataset.classes:
        return found
    scores = train_probes(
        trained.network,
        dataset,
        config.augmentation,
        config.evaluation.trained_probe,
        protocol,
        trained.progress,
        trained.plain,
    )
    found.measure("encoder", lambda: _probe_measures(protocol, scores, len(dataset.classes)))
    return found


def _nearest(
    seen: Tensor, train: ImageSet, unseen: Tensor, dataset: Dataset, evaluation: EvaluationConfig
) -> dict[str, float]:
    """Accuracy of kNN."""
    if not (has_directions(seen) and has_directions(unseen)):
        raise UndefinedError("kNN is not measured: features of length 0 have no cosine")
    if is_one_point(fn.normalize(seen, dim=1)):
        raise UndefinedError("kNN is not measured: all training features are one point")
    labels, true = train.labels.to(seen.device), dataset.test.labels.to(seen.device)
    k, temperature = evaluation.knn_neighbors, evaluation.knn_temperature
    return {"knn_accuracy": knn_accuracy(seen, labels, unseen, true, k, temperature)}


def _classes(
    inputs: ProbeInputs,
    train: ImageSet,
    unseen: Tensor,
    dataset: Dataset,
    evaluation: EvaluationConfig,
) -> dict[str, float]:
    """Accuracies of the linear probe."""
    logits = fit_classifier(inputs, train.labels, evaluation.probe_l2)(unseen)
    true = dataset.test.labels.to(logits.device)
    measures = {"probe_accuracy": float(top_k_accuracy(logits, true, 1))}
    if len(dataset.classes) > _TOP:
        measures["probe_top5"] = float(top_k_accuracy(logits, true, _TOP))
    return measures


def _colors(
    inputs: ProbeInputs, unseen: Tensor, colors: list[Tensor], l2: float
) -> dict[str, float]:
    """R² of the images' mean color."""
    if not bool((colors[1].std(0) > 0).all()):
        raise UndefinedError(
            "R² of the mean color is not measured: the mean color is the same in all test samples"
        )
    predicted = fit_regression(inputs, colors[0], l2)(unseen)
    return {"color_r2": r2(predicted, colors[1].to(predicted.device), "mean color")}


def _hue(
    inputs: ProbeInputs, train: ImageSet, unseen: Tensor, test: ImageSet, l2: float
) -> dict[str, float]:
    """R² of the hue where it is a known factor."""
    if "hue" not in train.factors:
        return {}
    return {"hue_r2": hue_r2(inputs, train.factors["hue"], unseen, test.factors["hue"], l2)}


def _components(images: Tensor) -> Tensor:
    """The mean color as two coordinates, float64 [N,2]."""
    return torch.view_as_real(colorfulness(images)).double()


def _transferred(plain: PlainFeatures, other: Dataset, l2: float) -> float:
    """Linear probe accuracy on another data set, normalized as the network is used to."""
    train = other.train.labelled()
    seen, unseen = (plain(part.images).encoder for part in (train, other.test))
    logits = fit_classifier(seen, train.labels, l2)(unseen)
    return float(top_k_accuracy(logits, other.test.labels.to(logits.device), 1))


def _probe_measures(protocol: str, scores: ProbeScores, classes: int) -> dict[str, float]:
    """Mean over initializations, and their standard deviation where there are two or more."""
    if not bool(scores.finite.all()):
        diverged = int((~scores.finite).sum())
        raise UndefinedError(
            f"the accuracy of the {protocol} protocol's probe is not measured: {diverged} of "
            f"{len(scores.finite)} initializations diverged; a lower "
            "evaluation.trained_probe.optimizer.learning_rate may help"
        )
    name = f"{protocol}_probe"
    measures = {f"{name}_accuracy": float(scores.top1.mean())}
    if classes > _TOP:
        measures[f"{name}_top5"] = float(scores.top5.mean())
    if len(scores.top1) > 1:
        measures[f"{name}_spread"] = float(scores.top1.std())
    return measures
