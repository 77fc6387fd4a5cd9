"""Configure the optimizer, the training, and how a trial is run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from care.config.base import Model, NonNegative, Positive, PositiveInt

Compile = Literal["auto", "always", "never"]
Precision = Literal["fp32", "bf16"]
PrecisionChoice = Literal["auto", "fp32", "bf16"]


class OptimizerConfig(Model):
    """Optimizer and learning-rate schedule (docs/paper.md §5)."""

    name: Literal["adam", "sgd"] = "adam"
    learning_rate: Positive = 1e-3
    weight_decay: NonNegative = 1e-6
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: NonNegative = 0.0


class TrainingConfig(Model):
    """Epochs and batches of the training; an epoch's last incomplete batch is dropped.

    Attributes:
        epochs: Passes through the training set.
        batch_size: Samples per step, over all processes.
        batch_norm_groups: 1: BatchNorm uses the statistics of the full batch. g > 1: each of g
            groups of consecutive rows has its own statistics, like g GPUs without synchronization,
            for any number of processes.
        precision: Precision of the network, see :mod:`care.system.precision`. ``auto``: bfloat16 on
            devices with units for it; a resumed trial keeps its recorded precision.
    """

    epochs: PositiveInt = 400
    batch_size: Annotated[int, Field(ge=2)] = 256
    batch_norm_groups: PositiveInt = 1
    precision: PrecisionChoice = "auto"


class RuntimeConfig(Model):
    """How a trial is run; not in its identity, as it changes numbers by rounding at most.

    Attributes:
        data_root: Folder of the data sets' files.
        device: Device; ``auto`` is the first accelerator, else the CPU.
        processes: Number of processes that train together on one machine. Each takes an equal share
            of every batch and, unless on the CPU, its own GPU.
        threads: CPU threads of the trial, divided among its processes; recorded with the trial,
            like the device type. None for all cores.
        compile: Use of torch.compile for the encoder, which takes up to half a minute at the start
            of a trial. ``auto``: on an Nvidia GPU if the training is long enough.
        cuda_graph: Launch a training step as one CUDA graph on an Nvidia GPU; see
            :mod:`care.training.cuda_graph`.
        checkpoint_seconds: Longest time between two checkpoints; each epoch also ends with one.
    """

    data_root: str = "data"
    device: str = "auto"
    processes: PositiveInt = 1
    threads: PositiveInt | None = None
    compile: Compile = "auto"
    cuda_graph: bool = True
    checkpoint_seconds: Positive = 300.0
