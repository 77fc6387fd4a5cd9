"""Our training step: :class:`care.training.trainer.Trainer` with the settings of a trial."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.workload import (
    EPOCHS,
    HIDDEN,
    LEARNING_RATE,
    MEAN,
    OUTPUT,
    SPLITS,
    STD,
    TEMPERATURE,
    WEIGHT,
    WEIGHT_DECAY,
    Workload,
    make_images,
)
from care.config import TrialConfig
from care.config.loading import validate
from care.data.dataset import Dataset, ImageSet
from care.data.shared_batches import SharedBatches
from care.system.allocator import keep_freed_memory
from care.system.precision import exact_float32
from care.training.trainer import Trainer


def step_config(workload: Workload) -> TrialConfig:
    """Make the configuration of the timed trial; with a GPU it is long enough to be compiled."""
    equivariance = {
        "weight": WEIGHT if workload.equivariance else 0.0,
        "splits": SPLITS,
        "shared_views": workload.shared_views,
    }
    tree = {
        "data": {"name": "cifar10"},
        "model": {"encoder": workload.encoder, "head": {"hidden": HIDDEN, "output": OUTPUT}},
        "objective": {"temperature": TEMPERATURE, "equivariance": equivariance},
        "optimizer": {"learning_rate": LEARNING_RATE, "weight_decay": WEIGHT_DECAY},
        "training": {"epochs": EPOCHS, "batch_size": workload.batch},
    }
    return validate(TrialConfig, tree, "benchmark")


def make_dataset() -> Dataset:
    """Make a data set of noise in the shape of CIFAR-10."""
    images = torch.from_numpy(make_images()).permute(0, 3, 1, 2).contiguous()
    split = ImageSet(images, torch.zeros(len(images), dtype=torch.int64), {})
    return Dataset("noise", split, split, ("noise",), MEAN, STD)


class OneStep:
    """Trains one step at each call, in an epoch that does not end."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._steps = trainer.steps()

    def __call__(self) -> None:
        if self._trainer.step + 1 == self._trainer.steps_per_epoch:
            self._trainer.step = 0
        next(self._steps)


def build_trainer(workload: Workload, shared: SharedBatches | None = None) -> Trainer:
    """Build the timed trainer in a process that is set up like a trial's."""
    keep_freed_memory()
    exact_float32()
    torch.backends.cudnn.benchmark = True
    device = torch.device(workload.device)
    return Trainer(step_config(workload), make_dataset(), device, shared=shared)


def build(workload: Workload, cores: int) -> Callable[[], object]:  # noqa: ARG001 - as the others
    """Build the step for :mod:`benchmarks.side`."""
    return OneStep(build_trainer(workload))
