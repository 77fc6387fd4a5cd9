"""The time of ``evaluation.monitor`` with every measure, over that of an epoch of CIFAR-10."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmarks.care_step import OneStep, make_dataset, step_config
from benchmarks.measure import PERCENT, Result, seconds, summarize
from benchmarks.workload import Workload
from care.config import MonitorConfig
from care.registry import MONITORED
from care.system.allocator import keep_freed_memory
from care.system.precision import exact_float32
from care.training.trainer import Trainer

_IMAGES = 50_000  # CIFAR-10's; fewer are in memory, and only some steps of an epoch are timed
_STEPS, _PAIRS, _CLASSES = 3, 5, 10


def monitoring() -> list[Result]:
    """Measure after every epoch of CARE and of SimCLR, with the small encoder."""
    return [
        *_share("monitor", Workload("small")),
        *_share("monitor-simclr", Workload("small", equivariance=False)),
    ]


def _share(name: str, workload: Workload) -> list[Result]:
    keep_freed_memory()
    exact_float32()
    config, dataset = step_config(workload), make_dataset()
    chosen = MonitorConfig(measures=tuple(MONITORED))
    evaluation = config.evaluation.model_copy(update={"monitor": chosen})
    # Noise of ten classes: no probe takes longer than one that has nothing to find.
    split = replace(dataset.train, labels=torch.arange(len(dataset.train)) % _CLASSES)
    classes = tuple(map(str, range(_CLASSES)))
    trainer = Trainer(
        config.model_copy(update={"evaluation": evaluation}),
        replace(dataset, train=split, test=split, classes=classes),
        torch.device(workload.device),
    )
    step = OneStep(trainer)

    def steps() -> None:
        for _ in range(_STEPS):
            step()

    def measure() -> None:
        found = trainer.monitor(trainer.network)
        assert not found.notes

    steps()
    measure()  # augments the monitored images
    steps_per_epoch = _IMAGES // workload.batch
    shares = [
        100 * measured / (trained / _STEPS * steps_per_epoch)
        for trained, measured in ((seconds(steps), seconds(measure)) for _ in range(_PAIRS))
    ]
    versus = f"an epoch of {_IMAGES} images, all measures after each"
    return [summarize(name, versus, shares, PERCENT)]
