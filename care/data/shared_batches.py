"""The batches that the trials of a pack share, and which trials can share them.

Batches and augmentations are functions of (seed, purpose, epoch, step). Trials with equal seed,
data and augmentation would each make equal ones, so a pack makes them once.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from care.config import TrialConfig
from care.errors import ConfigError, Problem

if TYPE_CHECKING:  # a sweep's driver imports this module, and not torch
    from torch import Tensor

LARGEST_PACK = 8
"""Trials per pack with ``auto``: more gain little, and wait for each other at an epoch's end."""

SHARED = (
    "seed",
    "data",
    "augmentation",
    "training.batch_size",
    "runtime.data_root",
    "runtime.device",
    "runtime.processes",
    "runtime.threads",
)
"""Fields that must be equal in all trials of a pack."""


def batch_key(config: TrialConfig) -> str:
    """Return a key that is equal for trials that can share their batches."""
    return repr([_value(config, field) for field in SHARED])


def check_members(configs: Sequence[TrialConfig]) -> None:
    """Check that the trials of a pack can share their batches.

    Raises:
        ConfigError: A shared field differs, or a trial uses several processes; names the field.
    """
    for first, config in itertools.pairwise(configs):
        for field in SHARED:
            value, common = _value(config, field), _value(first, field)
            if value != common:
                allowed = f"allowed: {common}, as of the pack's first trial; or no pack"
                raise ConfigError("pack", [Problem(field, value, allowed)])
        processes = config.runtime.processes
        if processes > 1:
            raise ConfigError("pack", [Problem("runtime.processes", processes, "allowed: 1")])


def _value(config: TrialConfig, field: str) -> Any:
    value: Any = config
    for name in field.split("."):
        value = getattr(value, name)
    return value


@dataclasses.dataclass
class Batch:
    """The samples of one training step, and the tensors that are made from them.

    Attributes:
        samples: This process's share of the batch as the data set holds it, e.g. uint8 images
            [n,3,H,W].
        seed: The trial's seed.
        epoch: Epochs completed.
        step: Steps completed in the current epoch.
        inputs: Inputs of the step that were made so far, by their specification.
        tables: Augmentations that were drawn so far, by their view.
        seconds: Time that loading the samples and making the inputs took.
    """

    samples: Tensor
    seed: int
    epoch: int
    step: int
    inputs: dict[Hashable, Tensor] = dataclasses.field(default_factory=dict)
    tables: dict[Hashable, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


class SharedBatches:
    """The current batch of the trials that train in this process.

    The first trial to reach a step loads the batch and makes its inputs; the others reuse them.
    """

    def __init__(self) -> None:
        self._batch: Batch | None = None

    @property
    def seconds(self) -> float:
        """Time that the batch and its inputs took, which a pack spends once a step."""
        return self._batch.seconds if self._batch else 0.0

    def get(self, seed: int, epoch: int, step: int, load: Callable[[], Tensor]) -> Batch:
        """Return the batch of a step, and forget that of any other.

        Args:
            seed: The trial's seed.
            epoch: Epochs completed.
            step: Steps completed in the current epoch.
            load: Loads the samples, if no trial of the pack has done so.
        """
        batch = self._batch
        if batch is None or (batch.seed, batch.epoch, batch.step) != (seed, epoch, step):
            self._batch = batch = None  # frees its memory before the next one needs it
            started = time.perf_counter()
            batch = Batch(load(), seed, epoch, step)
            batch.seconds = time.perf_counter() - started
            self._batch = batch
        return batch
