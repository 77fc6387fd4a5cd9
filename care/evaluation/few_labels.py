"""Predict classes from few labels: 1 % and 10 % of them, and few-shot episodes.

The linear probe of a share of the labels is that of all labels; solo-learn fine-tunes instead [A].
Few-shot episodes are those of AugSelf (arXiv 2111.09613): 5-way, 1 or 5 shots, 16 queries, 2,000
episodes of test images. Their classifier is logistic regression. Here it is the nearest class mean
of centered features of unit length (SimpleShot's CL2N, arXiv 1911.04623).
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as fn

from care.evaluation.features import Features, double
from care.evaluation.linear_probe import fit_classifier
from care.evaluation.measure import Trained
from care.evaluation.results import Results, UndefinedError
from care.evaluation.sgd_probe import top_k_accuracy
from care.system.rng import generator

SHARES = {"1pct": 0.01, "10pct": 0.1}
DRAWS = 3
"""Random choices of the labels, over which the accuracy is averaged."""
WAYS, QUERIES, EPISODES = 5, 16, 2000
SHOTS = (1, 5)


def measure_few_labels(trained: Trained) -> Results:
    """Measure the linear probe of few labels, and few-shot episodes, in both spaces."""
    dataset, l2 = trained.dataset, trained.config.evaluation.probe_l2
    train, test = dataset.train.labelled(), dataset.test
    results = Results()
    if len(dataset.classes) < 2:
        what = "one class" if dataset.classes else "no classes"
        results.notes.append(f"few labels: not measured: {dataset.name!r} has {what}")
        return results
    features = [trained.plain(split.images) for split in (train, test)]
    for name, seen, unseen in zip(Features._fields, *features, strict=True):
        labels, true = train.labels.to(seen.device), test.labels.to(seen.device)
        for share in SHARES:
            probe = partial(_score_share, share, seen, labels, unseen, true, l2)
            results.measure(name, probe)
        for shots in SHOTS:
            results.measure(name, partial(_score_shots, seen.mean(0), unseen, true, shots))
    return results


def choose_labels(labels: Tensor, share: float, draw: int) -> Tensor:
    """Choose a share of the samples of each class, at least one of each, int64 [n].

    Args:
        labels: Classes, int64 [N], 0 and up.
        share: Share of each class, in (0, 1].
        draw: Index of the random choice.
    """
    chosen = []
    for label in sorted(set(labels.tolist())):
        members = (labels == label).nonzero().flatten().cpu()
        count = max(1, round(share * len(members)))
        order = generator(0, "few-labels", draw, label).permutation(len(members))
        chosen.append(members[torch.from_numpy(order[:count])])
    return torch.cat(chosen).sort().values


def _score_share(
    name: str, seen: Tensor, labels: Tensor, unseen: Tensor, true: Tensor, l2: float
) -> dict[str, float]:
    """Average the probe's test accuracy over random choices of the labels."""
    accuracies = []
    for draw in range(DRAWS):
        index = choose_labels(labels, SHARES[name], draw).to(seen.device)
        logits = fit_classifier(seen[index], labels[index], l2)(unseen)
        accuracies.append(float(top_k_accuracy(logits, true.to(logits.device), 1)))
    return {f"probe_accuracy_{name}": sum(accuracies) / DRAWS}


def _score_shots(mean: Tensor, unseen: Tensor, true: Tensor, shots: int) -> dict[str, float]:
    """Measure the accuracy of few-shot episodes of test images."""
    classes = [
        (true == label).nonzero().flatten().cpu().numpy() for label in sorted(set(true.tolist()))
    ]
    large = [members for members in classes if len(members) >= shots + QUERIES]
    if len(large) < WAYS:
        raise UndefinedError(
            f"{WAYS}-way {shots}-shot accuracy is not measured: {len(large)} classes have "
            f"{shots + QUERIES} test images or more; {WAYS} are needed"
        )
    points = fn.normalize(double(unseen) - double(mean), dim=1)
    correct = [
        classify_episode(points[torch.from_numpy(_draw_episode(large, shots, episode))], shots)
        for episode in range(EPISODES)
    ]
    return {f"few_shot_{shots}": float(torch.stack(correct).mean())}


def _draw_episode(classes: list[NDArray[np.int64]], shots: int, episode: int) -> NDArray[np.int64]:
    """Draw the samples of an episode: first its shots, then its queries, int64 [ways,shots+Q]."""
    rng = generator(0, f"few-shot-{shots}", episode)
    ways = rng.choice(len(classes), WAYS, replace=False)
    return np.stack([rng.choice(classes[way], shots + QUERIES, replace=False) for way in ways])


def classify_episode(points: Tensor, shots: int) -> Tensor:
    """Classify the queries of an episode by the nearest mean of the shots.

    Args:
        points: Features of each class, [ways,shots+queries,F].
        shots: Samples of each class whose label is known, the first ones.

    Returns:
        Share of queries at the mean of their class, float64.

    Example:
        >>> points = torch.eye(2)[:, None].expand(2, 3, 2)
        >>> float(classify_episode(points, shots=1))
        1.0
    """
    ways = len(points)
    means = points[:, :shots].mean(1)
    distances = torch.cdist(points[:, shots:].flatten(0, 1), means)
    true = torch.arange(ways, device=points.device).repeat_interleave(points.shape[1] - shots)
    return (distances.argmin(1) == true).double().mean()
