"""Weighted k-nearest-neighbor classification by cosine (docs/paper.md §2 [C])."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as fn

_CHUNK = 512


def knn_accuracy(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    neighbors: int,
    temperature: float,
) -> float:
    """Compute the share of test samples whose predicted class is right, in [0, 1].

    Args:
        train: Features [N,F].
        train_labels: Classes, int64 [N].
        test: Features [M,F].
        test_labels: Classes, int64 [M].
        neighbors: k, as in :func:`knn_predict`; the authors' code takes 200.
        temperature: τ > 0, as in :func:`knn_predict`.

    Example:
        >>> features, classes = torch.eye(2), torch.tensor([0, 1])
        >>> knn_accuracy(features, classes, 3 * features, classes, neighbors=1, temperature=0.5)
        1.0
    """
    predicted = knn_predict(train, train_labels, test, neighbors, temperature)
    return float((predicted == test_labels).double().mean())


def knn_predict(
    train: Tensor, labels: Tensor, test: Tensor, neighbors: int, temperature: float
) -> Tensor:
    """Predict the class with the largest sum of exp(cosine / τ) among the k nearest samples.

    Args:
        train: Features [N,F]; their norm does not matter.
        labels: Classes of the N samples, int64 [N], 0 and up.
        test: Features [M,F].
        neighbors: k; all N samples vote where k is larger.
        temperature: τ > 0.

    Returns:
        Classes, int64 [M]; of equal sums the smallest class.

    Example:
        >>> features, classes = torch.eye(2), torch.tensor([4, 7])
        >>> knn_predict(features, classes, features.flip(0), neighbors=1, temperature=0.5).tolist()
        [7, 4]
    """
    train, test = fn.normalize(train, dim=1), fn.normalize(test, dim=1)
    votes_of = fn.one_hot(labels).to(train.dtype)
    k = min(neighbors, len(train))
    predicted = []
    for queries in torch.split(test, _CHUNK):
        cosines, nearest = (queries @ train.T).topk(k, dim=1)
        # Subtracting the maximum keeps the order of the votes, and exp finite for a small τ.
        weights = ((cosines - cosines[:, :1]) / temperature).exp()
        # A matrix product, not a scatter-add: atomic additions on a GPU have no fixed order.
        predicted.append((weights.unsqueeze(1) @ votes_of[nearest]).squeeze(1).argmax(1))
    return torch.cat(predicted)
