"""How many trials a pack should have."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor

from care.trainer import Trainer

_WORTH_IT = 1.05
_NEAR_THE_BEST = 0.97
_SHARE_OF_MEMORY = 0.5
# Weights, gradients and an optimizer's two moments.
_COPIES = 4


def best_size(step: float, shared: float, most: int) -> int:
    """The smallest pack that comes near what the largest would gain.

    K trials take K (step - shared) + shared seconds a step instead of K step.

    Args:
        step: Seconds of a trial's step, alone.
        shared: Seconds of it that a pack spends once for all its members.
        most: Largest size, 1 or more.

    Returns:
        1 where no size is worth it: fewer processes with packs balance worse than many without.
    """
    gains = [step / (step - shared + shared / size) for size in range(1, most + 1)]
    if gains[-1] < _WORTH_IT:
        return 1
    return next(size for size, gain in enumerate(gains, 1) if gain >= _NEAR_THE_BEST * gains[-1])


def most_in_memory(trainer: Trainer, neighbors: int) -> int:
    """How many trials like this one fit, with what they keep between steps.

    A step's activations are freed before the next member's step.

    Args:
        trainer: Of one trial, which is in the memory already.
        neighbors: Packs on the same machine or GPU that may grow at the same time.
    """
    each = _COPIES * _bytes([*trainer.network.parameters(), *trainer.objective.parameters()])
    room = _SHARE_OF_MEMORY * _free_bytes(trainer.device) / neighbors
    return 1 + int(room / max(each, 1))


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
