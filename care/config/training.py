"""Optimiser, length of the training, and how a trial is run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from care.config.base import Model, NonNegative, Positive, PositiveInt


class OptimizerConfig(Model):
    """Optimiser and learning-rate schedule (CARE.md section 5)."""

    name: Literal["adam", "sgd"] = "adam"
    learning_rate: Positive = 1e-3
    weight_decay: NonNegative = 1e-6
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: NonNegative = 0.0


class TrainingConfig(Model):
    """Length and batch of the training; the last incomplete batch of an epoch is left out."""

    epochs: PositiveInt = 400
    batch_size: Annotated[int, Field(ge=2)] = 256


class RuntimeConfig(Model):
    """How a trial is run. Nothing here may change a number, so none of it is in its identity.

    Attributes:
        data_root: Folder of the data sets' files.
        device: ``auto`` takes the first accelerator, else the CPU.
        threads: CPU threads of the trial; the device type and this are recorded with it.
        checkpoint_seconds: Longest time between two checkpoints; each epoch ends with one.
    """

    data_root: str = "data"
    device: str = "auto"
    threads: PositiveInt | None = None
    checkpoint_seconds: Positive = 300.0
