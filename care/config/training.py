"""Optimiser, length of the training, measures, and how a trial is run."""

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


class EvaluationConfig(Model):
    """What is measured on held-out images, each epoch (``monitor``) and at the end.

    Attributes:
        monitor_images: Size of the fixed part of the test images used after every epoch.
        monitor_augmentations: Fixed augmentations that γ_f averages over after every epoch.
        rotation_augmentations: Random augmentations of the Wahba residual and the final γ_f.
        knn_neighbors: k of the weighted k-nearest-neighbour classifier.
        knn_temperature: τ of its weights exp(similarity / τ).
        probe_l2: L2 penalty of the linear probes, per sample.
    """

    monitor_images: Annotated[int, Field(ge=2)] = 256
    monitor_augmentations: PositiveInt = 4
    rotation_augmentations: PositiveInt = 20
    knn_neighbors: PositiveInt = 200
    knn_temperature: Positive = 0.5
    probe_l2: NonNegative = 1e-4


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
