"""Measure what frozen features predict: classes, hue, color, and classes of other data sets."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as fn

from care.config import EvaluationConfig, Protocol, TrialConfig
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
from care.evaluation.results import Outcome, UndefinedError
from care.evaluation.resume import Progress
from care.evaluation.sgd_probe import ProbeScores, top_k_accuracy, train_probes
from care.models import Network

_TOP = 5


def measure_readout(
    network: Network,
    dataset: Dataset,
    config: TrialConfig,
    transfer: Iterable[Dataset],
    progress: Progress,
    plain: PlainFeatures,
) -> Outcome:
    """Fit probes on training features and measure them on test features.

    Args:
        network: Unchanged.
        dataset: Data set with labels for some training and all test images.
        config: The trial.
        transfer: Other data sets with images of equal size, whose classes are predicted.
        progress: Stores finished parts, and stops the evaluation.
        plain: Cached features of the network.

    Raises:
        care.evaluation.resume.Paused: ``progress`` stopped the evaluation.
    """
    outcome = Outcome()
    outcome.add(progress.part("readout", lambda: _measure_fitted(plain, dataset, config)))
    if config.evaluation.transfer:
        transfers = partial(_measure_transfers, network, dataset, config, transfer, progress)
        outcome.add(progress.part("transfer", transfers))
    for protocol in config.evaluation.trained_probe.protocols:
        measure = partial(_measure_trained, network, dataset, config, protocol, progress, plain)
        outcome.add(progress.part(f"probe-{protocol}", measure))
    return outcome


def _measure_fitted(plain: PlainFeatures, dataset: Dataset, config: TrialConfig) -> Outcome:
    train = dataset.train.labelled()
    features = [plain(split.images) for split in (train, dataset.test)]
    colors = [_mean_colors(split.images) for split in (train, dataset.test)]
    outcome = Outcome()
    for space, name in enumerate(Features._fields):
        seen, unseen = features[0][space], features[1][space]
        inputs, l2 = ProbeInputs(seen), config.evaluation.probe_l2
        evaluation, test = config.evaluation, dataset.test
        for compute in (
            partial(_score_knn, seen, train, unseen, dataset, evaluation),
            partial(_score_classes, inputs, train, unseen, dataset, evaluation),
            partial(_score_color, inputs, unseen, colors, l2),
            partial(_score_hue, inputs, train, unseen, test, l2),
        ):
            outcome.measure(name, compute)
    return outcome


def _measure_transfers(
    network: Network,
    dataset: Dataset,
    config: TrialConfig,
    transfer: Iterable[Dataset],
    progress: Progress,
) -> Outcome:
    augmenter = dataset.augmenter(config.augmentation)
    outcome = Outcome()
    for data, other in zip(config.transfer_data, transfer, strict=True):
        progress.check()
        plain = PlainFeatures(network, augmenter)
        accuracy = _score_transfer(plain, other, config.evaluation.probe_l2)
        outcome.measures[f"encoder/transfer_{data.transfer_name}"] = accuracy
    return outcome


def _measure_trained(
    network: Network,
    dataset: Dataset,
    config: TrialConfig,
    protocol: Protocol,
    progress: Progress,
    plain: PlainFeatures,
) -> Outcome:
    probe = config.evaluation.trained_probe
    scores = train_probes(network, dataset, config.augmentation, probe, protocol, progress, plain)
    outcome = Outcome()
    outcome.measure("encoder", lambda: _summarize_scores(protocol, scores, len(dataset.classes)))
    return outcome


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


def _score_transfer(plain: PlainFeatures, other: Dataset, l2: float) -> float:
    """Measure probe accuracy on another data set, normalized like the trial's own."""
    train = other.train.labelled()
    seen, unseen = (plain(split.images).encoder for split in (train, other.test))
    logits = fit_classifier(seen, train.labels, l2)(unseen)
    return float(top_k_accuracy(logits, other.test.labels.to(logits.device), 1))


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
