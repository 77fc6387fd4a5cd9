"""Select a fixed, class-balanced part of a split."""

from __future__ import annotations

import torch
from torch import Tensor

from care.system.rng import generator


def select_balanced(labels: Tensor, count: int) -> Tensor:
    """Select ``count`` samples with equal numbers of each class, up to one.

    The selection does not depend on trial or seed, and is a subset of every larger selection from
    these labels. A class with too few samples gives all. Unlabelled samples keep their share.

    Args:
        labels: Classes, int64 [N]; -1 without a label.
        count: Number of samples, at most N.

    Returns:
        Indices, ascending, int64 [count].
    """
    order = torch.from_numpy(generator(0, "part-of-data").permutation(len(labels)))
    labels = labels.cpu()[order]
    known, unknown = labels >= 0, labels < 0
    # The samples with the lowest keys are selected: the n-th of each class has about one key.
    keys = torch.empty(len(labels), dtype=torch.float64)
    keys[known] = _spread_evenly(_rank_in_class(labels[known]))
    keys[unknown] = _spread_evenly(torch.arange(int(unknown.sum())))
    selected = order[keys.argsort(stable=True)[:count]]
    return selected.sort().values


def _rank_in_class(labels: Tensor) -> Tensor:
    """Count the earlier samples of each sample's label, int64 [N]."""
    by_class = labels.argsort(stable=True)
    sizes = torch.bincount(labels) if len(labels) else labels
    starts = sizes.cumsum(0) - sizes
    ranks = torch.empty_like(labels)
    ranks[by_class] = torch.arange(len(labels)) - starts[labels[by_class]]
    return ranks


def _spread_evenly(ranks: Tensor) -> Tensor:
    """Map ranks to evenly spaced values in (0, 1), in their order; ties by index."""
    values = torch.empty(len(ranks), dtype=torch.float64)
    values[ranks.argsort(stable=True)] = (
        torch.arange(len(ranks), dtype=torch.float64) + 0.5
    ) / max(len(ranks), 1)
    return values
