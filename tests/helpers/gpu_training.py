"""Tiny trainings on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from care.config import DataConfig, TrialConfig
from care.data.dataset import Dataset, load_dataset
from care.data.shared_batches import SharedBatches
from care.training.cuda_graph import WARM_UP
from care.training.trainer import Trainer
from tests.helpers.stepping import config

CUDA = torch.device("cuda", 0)
STEPS = WARM_UP + 6
"""Some as they are, one that is recorded, some replayed."""


def dataset() -> Dataset:
    """Digits, on the CPU."""
    return load_dataset(DataConfig(), Path())


def of(name: str, *, graph: bool = True, compile_: str = "never", **parts: Any) -> TrialConfig:
    """A tiny trial of an objective, its step recorded or not."""
    training = {"epochs": 2, "batch_size": 32, "precision": "fp32", **parts.pop("training", {})}
    return config(
        name, training=training, runtime={"cuda_graph": graph, "compile": compile_}, **parts
    )


def trainer(settings: TrialConfig, warnings: list[str] | None = None, **named: Any) -> Trainer:
    """Its trainer on the GPU; a warning fails the test unless it is asked for."""

    def fail(warning: str) -> None:
        raise AssertionError(warning)

    warn = fail if warnings is None else warnings.append
    return Trainer(settings, dataset(), CUDA, warn=warn, **named)


def train(made: Trainer, steps: int = STEPS) -> dict[str, Any]:
    """Train up to that step of the first epoch; the state there."""
    made.run_epoch(stop=lambda: made.step == steps)
    return made.state()


def side_by_side(settings: list[TrialConfig], steps: int = STEPS) -> list[dict[str, Any]]:
    """The states of trials that share their batches, a step of each in turn."""
    shared = SharedBatches()
    members = [trainer(each, shared=shared) for each in settings]
    epochs = [member.steps() for member in members]
    for _ in range(steps):
        for epoch in epochs:
            next(epoch)
    return [member.state() for member in members]
