"""Rank the views of an image by rotations that training images determine, without a predictor.

MRR and hit@k of SIE (arXiv 2302.10283) measure a trained predictor. Here R_a, the best rotation of
training embeddings under a, takes its place. So any encoder can be measured [A] (docs/method.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as fn

from care.augmentation import Table
from care.evaluation.features import (
    Features,
    double,
    extract_augmented,
    has_directions,
    is_one_point,
)
from care.evaluation.measure import Trained
from care.evaluation.results import Results, UndefinedError
from care.evaluation.rotation import best_rotations
from care.system.rng import generator

AUGMENTATIONS = 50
"""Candidates of each query, as in SIE."""
QUERIES = 1000
"""Most held-out images."""
_FITTED = 2000
_CHUNK = 100


class Ranking(NamedTuple):
    """How high predictions rank their targets among all candidates.

    Attributes:
        mrr: Mean reciprocal rank, in (0, 1]; chance has Σ 1/k / K over k = 1 … K.
        hit1: Share of targets at rank 1; chance has 1 / K.
        hit5: Share of targets at rank 5 or better; chance has 5 / K.
    """

    mrr: float
    hit1: float
    hit5: float


def rank_views(predicted: Tensor, views: Tensor) -> Ranking:
    """Rank each view of an image by its cosine with the prediction for it.

    Candidates of an image are its own K views. A tie counts as half a rank.

    Args:
        predicted: Predictions of each view, [K,N,d].
        views: f(a_k(x_i)), [K,N,d].

    Example:
        >>> views = torch.eye(6)[:, None]
        >>> rank_views(views, views)
        Ranking(mrr=1.0, hit1=1.0, hit5=1.0)
    """
    parts = zip(*(torch.split(points, _CHUNK, 1) for points in (predicted, views)), strict=True)
    ranks = torch.cat([_ranks(*part) for part in parts])
    return Ranking(
        float((1 / ranks).mean()),
        float((ranks <= 1).double().mean()),
        float((ranks <= 5).double().mean()),
    )


def _ranks(predicted: Tensor, views: Tensor) -> Tensor:
    """Compute the rank of each view, float64 [N,K]."""
    queries, candidates = (fn.normalize(double(points), dim=2) for points in (predicted, views))
    cosines = torch.einsum("knd,jnd->nkj", queries, candidates)
    own = cosines.diagonal(dim1=1, dim2=2).unsqueeze(2)
    higher, equal = (cosines > own).sum(2), (cosines == own).sum(2)
    return 1 + higher.double() + (equal.double() - 1) / 2


class _Space:
    """Predictions of one feature space, one augmentation after the other."""

    def __init__(self, fitted: Tensor, plain: Tensor) -> None:
        """Start with features of training images [M,d] and of held-out images [N,d]."""
        self._has_directions = has_directions(fitted) and has_directions(plain)
        self._fitted, self._plain = (double(fn.normalize(part, dim=1)) for part in (fitted, plain))
        self._rotated: list[Tensor] = []
        self._moved: list[Tensor] = []
        self._views: list[Tensor] = []

    def add(self, fitted: Tensor, view: Tensor) -> None:
        """Add the features of both sets of images under the next augmentation."""
        self._has_directions &= has_directions(fitted) and has_directions(view)
        augmented = double(fn.normalize(fitted, dim=1))
        rotation = best_rotations(self._fitted, augmented).proper
        self._rotated.append((self._plain @ rotation.T).float())
        self._moved.append((self._plain + (augmented - self._fitted).mean(0)).float())
        self._views.append(view)

    def results(self) -> dict[str, float]:
        """Rank by rotation, and by the mean movement for comparison.

        Raises:
            UndefinedError: There are too few images for a rotation, or no directions to compare.
        """
        if not self._has_directions:
            raise UndefinedError("MRR is not measured: features of length 0 have no direction")
        if is_one_point(self._fitted):
            raise UndefinedError("MRR is not measured: all training embeddings are one point")
        count, dim = self._fitted.shape
        if count <= dim:
            raise UndefinedError(
                f"MRR is not measured: {count} training images are too few to fit a rotation of "
                f"{dim} dimensions"
            )
        views = torch.stack(self._views)
        by_rotation = rank_views(torch.stack(self._rotated), views)
        by_mean = rank_views(torch.stack(self._moved), views)
        return {
            **{f"ranking_{name}": value for name, value in by_rotation._asdict().items()},
            "ranking_mrr_mean_movement": by_mean.mrr,
        }


def measure_ranking(trained: Trained) -> Results:
    """Rank views of up to 1,000 test images by rotations that training images determine.

    Rotations are fitted to 2,000 training images, or twice as many as the features have dimensions,
    or all. Augmentations depend on their distribution alone.

    Raises:
        care.evaluation.resume.Paused: ``trained.progress`` stopped the evaluation.
    """
    dataset = trained.dataset
    count = min(len(dataset.train), max(_FITTED, 2 * trained.network.feature_dim))
    order = generator(0, "ranking-images").permutation(len(dataset.train))[:count]
    chosen = torch.from_numpy(order).sort().values.to(dataset.train.images.device)
    fitted, queries = dataset.train.images[chosen], dataset.test.images[:QUERIES]
    augmenter = dataset.augmenter(trained.config.augmentation)

    def extract(table: Table) -> Iterator[tuple[Tensor, Tensor]]:
        parts = (
            extract_augmented(trained.network, augmenter, table, images)
            for images in (fitted, queries)
        )
        return zip(*parts, strict=True)

    spaces = [_Space(*parts) for parts in extract(augmenter.identity())]
    for index in range(AUGMENTATIONS):
        trained.progress.check()
        table = augmenter.sample(1, generator(0, "ranking", index))
        for space, parts in zip(spaces, extract(table), strict=True):
            space.add(*parts)
    results = Results()
    for name, space in zip(Features._fields, spaces, strict=True):
        results.measure(name, space.results)
    return results
