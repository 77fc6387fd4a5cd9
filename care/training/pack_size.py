"""The size of a pack, from the time that its steps take and the memory that is free."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from care.data.shared_batches import LARGEST_PACK
from care.system.cgroup import free_memory
from care.training.cuda_graph import WARM_UP
from care.training.pack import Round
from care.training.trainer import Trainer

_WORTH_IT = 1.05
_NEAR_THE_BEST = 0.97
_SHARE_OF_MEMORY = 0.5
# Weights, gradients and an optimizer's two moments.
_COPIES = 4
# The first steps take longer: memory is fetched, kernels are chosen, graphs recorded.
_SETTLING_CPU, _MEASURED_CPU = 3, 1
_SETTLING_GPU, _MEASURED_GPU = WARM_UP + 2, 8


class Pace:
    """Time of a round of steps of a pack that has settled.

    Args:
        device: The pack's; a GPU runs behind the CPU and is waited for before and after.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gpu = device.type == "cuda"
        self._settling = _SETTLING_GPU if gpu else _SETTLING_CPU
        self._enough = self._settling + (_MEASURED_GPU if gpu else _MEASURED_CPU)
        self._rounds = 0
        self._start = self._now()

    def measure(self, step: Round) -> float | None:
        """Count a round that has ended; return seconds a round once enough are measured.

        A round that some of the trials waited for is not counted.
        """
        if not (step.together or step.last):
            return None
        self._rounds += 1
        measured = self._rounds - self._settling
        if self._rounds == self._enough or step.last:
            return (self._now() - self._start) / (measured if measured > 0 else self._rounds)
        if measured == 0:
            self._start = self._now()
        return None

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


class SizeSearch:
    """Finds how many trials a pack should have, from the first ones.

    Args:
        trials: Trials that the pack can have.
        neighbors: Packs on one machine or GPU that may grow together.

    Attributes:
        settled: Whether the last answer is final; on a GPU larger sizes have to be tried.
    """

    def __init__(self, trials: int, neighbors: int) -> None:
        self.settled = False
        self._most = min(LARGEST_PACK, trials)
        self._neighbors = neighbors
        self._paces: dict[int, float] = {}

    def next(self, seconds: float, shared: float, trainers: Sequence[Trainer]) -> int:
        """Return the size to grow to.

        Args:
            seconds: Of a round of steps of all trials so far.
            shared: Seconds of it that a pack spends once for all its trials.
            trainers: Of the trials so far that are not finished.
        """
        if not trainers:
            self.settled = not self._paces
            return self._most
        if not self._paces:
            self._most = min(self._most, most_in_memory(trainers[0], self._neighbors))
        self.settled = trainers[0].device.type != "cuda"
        if self.settled:
            return best_size(seconds, shared, self._most)
        self._paces[len(trainers)] = seconds
        return next_size(self._paces, self._most)


def next_size(paces: Mapping[int, float], most: int) -> int:
    """Double a pack on a GPU while that pays, else return the best size that it had.

    One trial does not show how well a GPU runs several, so they are tried.

    Args:
        paces: Seconds of a round by the pack's size, of each size so far.
        most: Largest size.
    """
    size = max(paces)
    before = [other for other in paces if other < size]
    if before:
        last = max(before)
        if paces[last] / last < _WORTH_IT * paces[size] / size:
            return last
    return min(2 * size, most)


def best_size(step: float, shared: float, most: int) -> int:
    """Return the smallest pack whose gain is near that of the largest.

    K trials take K (step - shared) + shared seconds a step instead of K step.

    Args:
        step: Seconds of a trial's step, alone.
        shared: Seconds of it that a pack spends once for all its members.
        most: Largest size, 1 or more.

    Returns:
        1 where no size pays: few processes with packs balance worse than many without.
    """
    gains = [step / (step - shared + shared / size) for size in range(1, most + 1)]
    if gains[-1] < _WORTH_IT:
        return 1
    return next(size for size, gain in enumerate(gains, 1) if gain >= _NEAR_THE_BEST * gains[-1])


def most_in_memory(trainer: Trainer, neighbors: int) -> int:
    """Estimate how many trials like this one fit into the memory that is free.

    On a CPU a step's activations are freed before the next member's step; on a GPU each member's
    graph keeps its own.

    Args:
        trainer: Of one trial, which is in the memory already.
        neighbors: Packs on one machine or GPU that may grow together.
    """
    each = _COPIES * _bytes([*trainer.network.parameters(), *trainer.objective.parameters()])
    if trainer.device.type == "cuda":
        images = [part.images for part in (trainer.dataset.train, trainer.dataset.test)]
        shared = _bytes(part for part in images if part.is_cuda)
        each = max(each, torch.cuda.memory_reserved(trainer.device) - shared)
    room = _SHARE_OF_MEMORY * _free_bytes(trainer.device) / neighbors
    return 1 + int(room / max(each, 1))


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = free_memory()
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if free is None else free
