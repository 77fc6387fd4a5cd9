"""The measures of a network while it trains, each a function of its features."""

from __future__ import annotations

from torch.nn import functional as fn

from care.evaluation.effective_rank import effective_rank
from care.evaluation.features import has_directions, is_one_point
from care.evaluation.knn import knn_accuracy
from care.evaluation.linear_probe import fit_classifier
from care.evaluation.monitored import Monitored
from care.evaluation.results import UndefinedError
from care.evaluation.rotation import gamma
from care.evaluation.sgd_probe import top_k_accuracy
from care.objectives.alignment import alignment, positive_cosine, uniformity
from care.objectives.equivariance import equivariance_loss

# Largest entry of the gradient, over 10,000 times that of the final probe: a few Newton steps.
_TOLERANCE = 1e-3


def measure_gamma(monitored: Monitored) -> dict[str, float]:
    """Measure γ_f between clean samples and shared augmentations, and its ratios' median."""
    views = monitored.views
    if is_one_point(views.clean):
        count = len(views.clean)
        raise UndefinedError(f"γ_f is not measured: all {count} embeddings are one point")
    relative = gamma(views.clean, views.shared[: monitored.evaluation.monitor_augmentations])
    return {"gamma": relative.mean, "gamma_median": relative.median}


def measure_alignment(monitored: Monitored) -> dict[str, float]:
    """Measure the alignment of two views, each with one augmentation per sample."""
    return {"alignment": float(alignment(*monitored.views.positives))}


def measure_uniformity(monitored: Monitored) -> dict[str, float]:
    """Measure the uniformity of views with one augmentation per sample."""
    return {"uniformity": float(uniformity(monitored.views.positives[0]))}


def measure_positive_cosine(monitored: Monitored) -> dict[str, float]:
    """Measure the mean cosine of two views, each with one augmentation per sample."""
    return {"positive_cosine": float(positive_cosine(*monitored.views.positives))}


def measure_equivariance(monitored: Monitored) -> dict[str, float]:
    """Measure L_equi as trained, as the mean over pairs, between two shared augmentations."""
    first, second = monitored.views.shared[:2]
    return {"equivariance": float(equivariance_loss(first, second, 1, "mean"))}


def measure_knn(monitored: Monitored) -> dict[str, float]:
    """Measure the accuracy of kNN on the encoder's features.

    k is that of the final measure times the part's share of the training samples. So the neighbors
    lie as near as those among all training samples.
    """
    (train, labels), (test, true) = monitored.train, monitored.test
    seen, unseen = train.encoder, test.encoder
    if not (has_directions(seen) and has_directions(unseen)):
        raise UndefinedError("kNN is not measured: features of length 0 have no cosine")
    if is_one_point(fn.normalize(seen, dim=1)):
        raise UndefinedError("kNN is not measured: all training features are one point")
    neighbors = max(1, round(monitored.evaluation.knn_neighbors * monitored.share))
    temperature = monitored.evaluation.knn_temperature
    return {"knn_accuracy": knn_accuracy(seen, labels, unseen, true, neighbors, temperature)}


def measure_probe(monitored: Monitored) -> dict[str, float]:
    """Measure the accuracy of a linear probe: the final probe's problem, solved less exactly."""
    (train, labels), (test, true) = monitored.train, monitored.test
    probe = fit_classifier(
        train.encoder, labels, monitored.evaluation.probe_l2, tolerance=_TOLERANCE
    )
    logits = probe(test.encoder)
    return {"probe_accuracy": float(top_k_accuracy(logits, true.to(logits.device), 1))}


def measure_rank(monitored: Monitored) -> dict[str, float]:
    """Measure the effective rank of test features, of the encoder and on the sphere."""
    features = monitored.test.features
    return {
        "encoder_rank": effective_rank(features.encoder),
        "head_rank": effective_rank(features.head),
    }
