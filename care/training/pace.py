"""Measure how long a trial's steps take on this machine; nothing is kept.

A process of its own: :func:`main` reads a request and prints the answer, both as JSON.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from care.config import TrialConfig
from care.distributed.group import ALONE
from care.training.resume import open_trainer
from care.training.trainer import Trainer

_SETTLING = 3  # steps in which memory is fetched and kernels are chosen
_log = logging.getLogger(__name__)


class Pace(NamedTuple):
    """The pace of a trial on this machine.

    Attributes:
        epoch_seconds: Time of an epoch, without measures of held-out samples.
        checkpoint_bytes: Size of a checkpoint with the optimizer.
        steps: Number of steps measured.
    """

    epoch_seconds: float
    checkpoint_bytes: int
    steps: int


def measure_pace(config: TrialConfig, threads: int, seconds: float) -> Pace:
    """Train the first steps of a trial in memory, and time them.

    Args:
        config: The trial.
        threads: CPU threads.
        seconds: Time to measure for after the first steps; a short epoch ends it earlier.

    Raises:
        CareError: The data are missing, or do not fit the trial.
        DivergedError: A loss was not finite.
    """
    with tempfile.TemporaryDirectory(prefix="care-pace-") as folder:
        trainer, _ = open_trainer(config, Path(folder), ALONE, threads, _log.warning)
    steps = trainer.steps()
    settling = min(_SETTLING, trainer.steps_per_epoch - 1)
    for _ in range(settling):
        next(steps)
    start = _now(trainer)
    measured, elapsed = 0, 0.0
    for _ in steps:
        measured, elapsed = measured + 1, _now(trainer) - start
        if elapsed >= seconds:
            break
    trainer.check_finite()
    each = elapsed / max(1, measured)
    return Pace(each * trainer.steps_per_epoch, _bytes_of(trainer), measured)


def _now(trainer: Trainer) -> float:
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return time.perf_counter()


def _bytes_of(trainer: Trainer) -> int:
    tensors = _tensors(trainer.state())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _tensors(tree: object) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for part in tree.values():
            yield from _tensors(part)
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            yield from _tensors(part)


def main() -> None:
    """Read ``{config, threads, seconds}`` from standard input and print a :class:`Pace`."""
    request = json.load(sys.stdin)
    config = TrialConfig.model_validate(request["config"])
    print(json.dumps(measure_pace(config, request["threads"], request["seconds"])))
