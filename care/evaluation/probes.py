"""Measure what frozen features predict of the trial's own data: classes, hue and color."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as fn

from care.config import EvaluationConfig, Protocol
from care.data.dataset import Dataset, ImageSet
from care.evaluation.features import Features, has_directions, is_one_point
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
from care.evaluation.results import Results, UndefinedError
from care.evaluation.sgd_probe import ProbeScores, top_k_accuracy, train_probes

_TOP = 5


def measure_readout(trained: Trained) -> Results:
    """Fit classes, mean color and hue on training features, and score them on test features.

    Returns:
        Empty results for a data set without classes.
    """
    dataset, evaluation = trained.dataset, trained.config.evaluation
    results = Results()
    if not dataset.classes:
        return results
    train, test, l2 = dataset.train.labelled(), dataset.test, evaluation.probe_l2
    features = [trained.plain(split.images) for split in (train, test)]
    colors = [_mean_colors(split.images) for split in (train, test)]
    for space, name in enumerate(Features._fields):
        seen, unseen = features[0][space], features[1][space]
        inputs = ProbeInputs(seen)
        for compute in (
            partial(_score_knn, seen, train, unseen, dataset, evaluation),
            partial(_score_classes, inputs, train, unseen, dataset, evaluation),
            partial(_score_color, inputs, unseen, colors, l2),
            partial(_score_hue, inputs, train, unseen, test, l2),
        ):
            results.measure(name, compute)
    return results


def measure_paper_probe(trained: Trained) -> Results:
    """Train linear probes in the protocol of the paper."""
    return _measure_trained_probe(trained, "paper")


def measure_authors_probe(trained: Trained) -> Results:
    """Train linear probes in the protocol of the authors' code."""
    return _measure_trained_probe(trained, "authors")


def _measure_trained_probe(trained: Trained, protocol: Protocol) -> Results:
    dataset, config = trained.dataset, trained.config
    results = Results()
    if not dataset.classes:
        return results
    scores = train_probes(
        trained.network,
        dataset,
        config.augmentation,
        config.evaluation.trained_probe,
        protocol,
        trained.progress,
        trained.plain,
    )
    results.measure("encoder", lambda: _summarize_scores(protocol, scores, len(dataset.classes)))
    return results


def _score_knn(
    seen: Tensor, train: ImageSet, unseen: Tensor, dataset: Dataset, evaluation: EvaluationConfig
) -> dict[str, float]:
    """Measure the accuracy of kNN."""
    if not (has_directions(seen) and has_directions(unseen)):
        raise UndefinedError("kNN is not measured: features of length 0 have no cosine")
    if is_one_point(fn.normalize(seen, dim=1)):
        raise UndefinedError("kNN is not measured: all training features are one point")
    labels, true = train.labels.to(seen.device), dataset.test.labels.to(seen.device)
    k, temperature = evaluation.knn_neighbors, evaluation.knn_temperature
    return {"knn_accuracy": knn_accuracy(seen, labels, unseen, true, k, temperature)}


def _score_classes(
    inputs: ProbeInputs,
    train: ImageSet,
    unseen: Tensor,
    dataset: Dataset,
    evaluation: EvaluationConfig,
) -> dict[str, float]:
    """Measure the accuracies of the linear probe."""
    logits = fit_classifier(inputs, train.labels, evaluation.probe_l2)(unseen)
    true = dataset.test.labels.to(logits.device)
    measures = {"probe_accuracy": float(top_k_accuracy(logits, true, 1))}
    if len(dataset.classes) > _TOP:
        measures["probe_top5"] = float(top_k_accuracy(logits, true, _TOP))
    return measures


def _score_color(
    inputs: ProbeInputs, unseen: Tensor, colors: list[Tensor], l2: float
) -> dict[str, float]:
    """Measure R² of the images' mean color."""
    if not bool((colors[1].std(0) > 0).all()):
        raise UndefinedError(
            "R² of the mean color is not measured: the mean color is constant over the test samples"
        )
    predicted = fit_regression(inputs, colors[0], l2)(unseen)
    return {"color_r2": r2(predicted, colors[1].to(predicted.device), "mean color")}


def _score_hue(
    inputs: ProbeInputs, train: ImageSet, unseen: Tensor, test: ImageSet, l2: float
) -> dict[str, float]:
    """Measure R² of the hue if it is a known factor."""
    if "hue" not in train.factors:
        return {}
    return {"hue_r2": hue_r2(inputs, train.factors["hue"], unseen, test.factors["hue"], l2)}


def _mean_colors(images: Tensor) -> Tensor:
    """Compute the mean color of each image as two coordinates, float64 [N,2]."""
    return torch.view_as_real(colorfulness(images)).double()


def _summarize_scores(protocol: str, scores: ProbeScores, classes: int) -> dict[str, float]:
    """Compute the mean over initializations and, of two or more, the standard deviation."""
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
