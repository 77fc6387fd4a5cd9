"""A fixed part of a split, with as many samples of each class."""

from __future__ import annotations

import torch
from torch import Tensor

from care.system.rng import generator


def balanced(labels: Tensor, count: int) -> Tensor:
    """Indices of ``count`` samples, ascending, int64 [count].

    They are the same for every trial and seed, and lie within every larger part of the same labels.
    Each class gives equally many, up to one; a class with fewer gives all of its own. Unlabelled
    samples come in as large a share as they have in the whole.

    Args:
        labels: Classes, int64 [N]; -1 where there is none.
        count: At most N.
    """
    order = torch.from_numpy(generator(0, "part-of-data").permutation(len(labels)))
    labels = labels.cpu()[order]
    known, unknown = labels >= 0, labels < 0
    turn = torch.empty(len(labels), dtype=torch.float64)
    turn[known] = _places(_rank_in_class(labels[known]))
    turn[unknown] = _places(torch.arange(int(unknown.sum())))
    chosen = order[turn.argsort(stable=True)[:count]]
    return chosen.sort().values


def _rank_in_class(labels: Tensor) -> Tensor:
    """How many earlier samples have the same label, int64 [N]."""
    by_class = labels.argsort(stable=True)
    sizes = torch.bincount(labels) if len(labels) else labels
    starts = sizes.cumsum(0) - sizes
    ranks = torch.empty_like(labels)
    ranks[by_class] = torch.arange(len(labels)) - starts[labels[by_class]]
    return ranks


def _places(ranks: Tensor) -> Tensor:
    """Evenly spaced over (0, 1), in the order of ``ranks``."""
    places = torch.empty(len(ranks), dtype=torch.float64)
    places[ranks.argsort(stable=True)] = (
        torch.arange(len(ranks), dtype=torch.float64) + 0.5
    ) / max(len(ranks), 1)
    return places
