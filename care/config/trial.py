"""The configuration of a trial, and the checks that span several of its parts."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from care.config.augmentation import AugmentationConfig
from care.config.base import Model, registered
from care.config.model import ModelConfig
from care.config.objective import (
    EquivarianceConfig,
    MocoConfig,
    NoBaseConfig,
    ObjectiveConfig,
    SimclrConfig,
)
from care.config.training import EvaluationConfig, OptimizerConfig, RuntimeConfig, TrainingConfig
from care.registry import DATA


class DataConfig(Model):
    """Which images."""

    name: Annotated[str, registered(tuple(DATA))] = "digits"


class TrialConfig(Model):
    """Everything that decides a trial's numbers, and how to run it."""

    seed: Annotated[int, Field(ge=0)] = 0
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = SimclrConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _check_across_fields(self) -> Self:
        _check_against_data(self)
        _check_objective(self.objective, self.training.batch_size)
        _check_schedule(self.optimizer, self.training.epochs)
        return self


def _refuse(field: str, value: object, allowed: str) -> None:
    raise PydanticCustomError(field, "allowed: {allowed}", {"allowed": allowed, "value": value})


def _check_against_data(config: TrialConfig) -> None:
    name, source = config.data.name, DATA[config.data.name]
    most = f"at most {source.train_size}, the number of training images of {name!r}"
    if config.training.batch_size > source.train_size:
        _refuse("training.batch_size", config.training.batch_size, most)
    if config.evaluation.knn_neighbors > source.train_size:
        _refuse("evaluation.knn_neighbors", config.evaluation.knn_neighbors, most)
    kernel, largest = config.augmentation.gaussian_blur.kernel_size, 2 * source.side - 1
    if kernel > largest:
        allowed = (
            f"at most {largest} pixels for the {source.side} × {source.side} images of {name!r}"
        )
        _refuse("augmentation.gaussian_blur.kernel_size", kernel, allowed)


def _check_objective(objective: ObjectiveConfig, batch: int) -> None:
    equivariance = objective.equivariance
    if isinstance(objective, NoBaseConfig) and equivariance.weight == 0:
        allowed = "greater than 0 with the base 'none', which has no other loss"
        _refuse("objective.equivariance.weight", equivariance.weight, allowed)
    if equivariance.weight > 0:
        _check_splits(equivariance, batch)
        if equivariance.shared_views and isinstance(objective, SimclrConfig):
            _check_views(objective)
    if isinstance(objective, MocoConfig):
        _check_moco(objective, batch)


def _check_views(objective: SimclrConfig) -> None:
    if objective.views != 2:
        allowed = "2 with shared_views, as chunks have two views"
        _refuse("objective.views", objective.views, allowed)


def _check_moco(moco: MocoConfig, batch: int) -> None:
    if moco.queue % batch:
        _refuse("objective.queue", moco.queue, f"a multiple of the batch of {batch}")
    groups = moco.shuffle_groups
    if batch % groups or batch // groups < 2:
        allowed = f"a divisor of the batch of {batch} that leaves groups of two or more images"
        _refuse("objective.shuffle_groups", groups, allowed)


def _check_splits(equivariance: EquivarianceConfig, batch: int) -> None:
    splits = equivariance.splits
    if batch % splits or batch // splits < 2:
        divisors = ", ".join(str(n) for n in range(1, batch // 2 + 1) if batch % n == 0)
        _refuse(
            "objective.equivariance.splits",
            splits,
            f"a number that divides the batch of {batch} into chunks of two or more images"
            f" ({divisors})",
        )


def _check_schedule(optimizer: OptimizerConfig, epochs: int) -> None:
    if optimizer.name == "adam" and optimizer.momentum:
        _refuse("optimizer.momentum", optimizer.momentum, "0 with adam, whose momentum is its own")
    if optimizer.warmup_epochs > epochs:
        allowed = f"at most {epochs}, the epochs of the training"
        _refuse("optimizer.warmup_epochs", optimizer.warmup_epochs, allowed)
