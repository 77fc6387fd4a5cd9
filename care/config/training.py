"""Optimiser, length of the training, and how a trial is run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from care.config.base import Model, NonNegative, Positive, PositiveInt

Compile = Literal["auto", "always", "never"]
Precision = Literal["fp32", "bf16"]
PrecisionChoice = Literal["auto", "fp32", "bf16"]


class OptimizerConfig(Model):
    """Optimiser and learning-rate schedule (docs/paper.md §5)."""

    name: Literal["adam", "sgd"] = "adam"
    learning_rate: Positive = 1e-3
    weight_decay: NonNegative = 1e-6
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: NonNegative = 0.0


class TrainingConfig(Model):
    """Length and batch of the training; the last incomplete batch of an epoch is left out.

    Attributes:
        epochs: Passes through the training set.
        batch_size: Samples of a step, over all processes.
        batch_norm_groups: 1: BatchNorm in encoder and head sees the whole batch. g > 1: g groups of
            consecutive rows have statistics of their own, as on g GPUs that do not synchronize
            them, whatever the number of processes.
        precision: What the network computes in, see :mod:`care.system.precision`. ``auto``:
            bfloat16 where the device is fast at it; a trial goes on with what it began with, on
            record with it.
    """

    epochs: PositiveInt = 400
    batch_size: Annotated[int, Field(ge=2)] = 256
    batch_norm_groups: PositiveInt = 1
    precision: PrecisionChoice = "auto"


class RuntimeConfig(Model):
    """How a trial is run, which changes no number beyond rounding and is not in its identity.

    Attributes:
        data_root: Folder of the data sets' files.
        device: ``auto`` takes the first accelerator, else the CPU.
        processes: Processes that train it together, each with an equal share of every batch and,
            unless it trains on the CPU, a GPU of its own; they are on one machine.
        threads: CPU threads of the trial, shared out among its processes; the device type and this
            are recorded with it.
        compile: Whether torch.compile fuses the encoder's operations, which takes up to half a
            minute at a trial's start; ``auto``: on an Nvidia GPU if the training is long enough.
        cuda_graph: Whether an Nvidia GPU launches a step as a whole; see
            :mod:`care.training.cuda_graph`.
        checkpoint_seconds: Longest time between two checkpoints; each epoch ends with one.
    """

    data_root: str = "data"
    device: str = "auto"
    processes: PositiveInt = 1
    threads: PositiveInt | None = None
    compile: Compile = "auto"
    cuda_graph: bool = True
    checkpoint_seconds: Positive = 300.0
