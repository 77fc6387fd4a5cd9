"""The configuration of a trial, with checks across its parts."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from care.config.augmentation import AugmentationConfig
from care.config.base import Model, refuse
from care.config.data import DataConfig
from care.config.evaluation import EvaluationConfig
from care.config.model import ModelConfig
from care.config.objective import ObjectiveConfig, SimclrConfig, settings_of
from care.config.suites import whole_suites
from care.config.training import OptimizerConfig, RuntimeConfig, TrainingConfig
from care.registry import ENCODERS, MONITORED, OBJECTIVES

_READOUTS_OF_POINTS = ("wahba", "ranking")
_KINDS = {"images": "images", "points": "point clouds"}


class TrialConfig(Model):
    """All settings that decide a trial's numbers, and ``runtime``: how the trial is run."""

    seed: Annotated[int, Field(ge=0)] = 0
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = SimclrConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @property
    def transfer_data(self) -> tuple[DataConfig, ...]:
        """Data sets of ``evaluation.transfer``, with images of the trial's size."""
        side = {"side": self.data.pixels}
        return tuple(data.model_copy(update=side) for data in self.evaluation.transfer)

    @model_validator(mode="after")
    def _check_across_fields(self) -> Self:
        _check_against_data(self)
        _check_objective(self)
        _check_groups(self)
        _check_equimod(self)
        _check_schedule(self.optimizer, self.training.epochs)
        _check_transfer(self)
        _check_probe(self)
        _check_monitor(self)
        _check_readouts(self)
        return self


def _check_against_data(config: TrialConfig) -> None:
    _check_sizes(config)
    _check_encoder(config)
    side = config.data.pixels
    if side is None:
        return
    _check_blur("augmentation", config.augmentation, side)
    probe = config.evaluation.trained_probe.augmentation
    if probe is not None:
        _check_blur("evaluation.trained_probe.augmentation", probe, side)


def _check_blur(field: str, augmentation: AugmentationConfig, side: int) -> None:
    kernel, largest = augmentation.gaussian_blur.kernel_size, 2 * side - 1
    if kernel > largest:
        allowed = f"at most {largest} pixels for images of {side} × {side}"
        refuse(f"{field}.gaussian_blur.kernel_size", kernel, allowed)


def _check_sizes(config: TrialConfig) -> None:
    size = config.data.train_size
    if size is None:  # checked once the files are read, by care.data.dataset.check_dataset
        return
    most = f"at most {size}, the number of training samples"
    if config.training.batch_size > size:
        refuse("training.batch_size", config.training.batch_size, most)
    if config.evaluation.knn_neighbors > size:
        refuse("evaluation.knn_neighbors", config.evaluation.knn_neighbors, most)


def _check_encoder(config: TrialConfig) -> None:
    kind = config.data.source.kind
    if ENCODERS[config.model.encoder].kind != kind:
        encoders = [name for name, entry in ENCODERS.items() if entry.kind == kind]
        allowed = f"{', '.join(encoders)}, as {config.data.name!r} are {_KINDS[kind]}"
        refuse("model.encoder", config.model.encoder, allowed)


def _check_objective(config: TrialConfig) -> None:
    objective, kind = config.objective, config.data.source.kind
    if kind not in objective.kinds:
        names = [name for name in OBJECTIVES if kind in settings_of(name).kinds]
        allowed = f"{', '.join(sorted(names))}, as {config.data.name!r} are {_KINDS[kind]}"
        refuse("objective.name", objective.name, allowed)
    objective.check_batch(config.training.batch_size)
    objective.check_augmentation(config.augmentation)
    objective.check_model(config.model)


def _check_equimod(config: TrialConfig) -> None:
    weight = config.objective.equimod_weight
    if weight > 0 and config.data.source.kind == "points":
        allowed = f"0, as {config.data.name!r} are point clouds and EquiMod is for images"
        refuse("objective.equimod.weight", weight, allowed)


def _check_groups(config: TrialConfig) -> None:
    batch, groups = config.training.batch_size, config.training.batch_norm_groups
    if batch % groups or batch // groups < 2:
        allowed = f"a divisor of the batch of {batch} that leaves groups of two or more samples"
        refuse("training.batch_norm_groups", groups, allowed)
    divided = {
        "batch": batch,
        "training.batch_norm_groups": groups if groups > 1 else batch,
        **{f"objective.{name}": count for name, count in config.objective.groups().items()},
    }
    for name, count in divided.items():
        if count % config.runtime.processes:
            allowed = f"a divisor of the {name} of {count}"
            refuse("runtime.processes", config.runtime.processes, allowed)


def _check_momentum(field: str, optimizer: OptimizerConfig) -> None:
    if optimizer.name == "adam" and optimizer.momentum:
        refuse(f"{field}.momentum", optimizer.momentum, "0 with adam, which has fixed betas")


def _check_probe(config: TrialConfig) -> None:
    probe, field = config.evaluation.trained_probe, "evaluation.trained_probe"
    if probe.protocols and config.data.source.kind == "points":
        allowed = f"none, as {config.data.name!r} have no classes"
        refuse(f"{field}.protocols", list(probe.protocols), allowed)
    optimizer = probe.optimizer
    _check_momentum(f"{field}.optimizer", optimizer)
    if optimizer.schedule != "constant":
        allowed = f"constant; {field}.milestones lower its rate"
        refuse(f"{field}.optimizer.schedule", optimizer.schedule, allowed)
    if optimizer.warmup_epochs:
        refuse(f"{field}.optimizer.warmup_epochs", optimizer.warmup_epochs, "0 for a probe")


def _check_monitor(config: TrialConfig) -> None:
    monitor, epochs = config.evaluation.monitor, config.training.epochs
    field = "evaluation.monitor"
    if monitor.every > epochs:
        refuse(f"{field}.every", monitor.every, f"at most {epochs}, the epochs of the training")
    if config.data.source.kind == "points":
        fitting = [name for name, entry in MONITORED.items() if not entry.classes]
        for name in monitor.measures:
            if name not in fitting:
                allowed = f"{', '.join(fitting)}, as {config.data.name!r} have no classes"
                refuse(f"{field}.measures", name, allowed)
    parts = (
        ("train_images", monitor.train_images, config.data.train_size, "training"),
        ("test_images", monitor.test_images, config.data.test_size, "test"),
    )
    for name, part, size, split in parts:  # without a size, check_dataset does so
        if part is not None and size is not None and part > size:
            refuse(f"{field}.{name}", part, f"at most {size}, the number of {split} samples")


def _check_transfer(config: TrialConfig) -> None:
    transfer, side = config.evaluation.transfer, config.data.pixels
    if transfer and side is None:
        names = [data.name for data in transfer]
        refuse("evaluation.transfer", names, f"none, as {config.data.name!r} are point clouds")
    # A suite is measured as a whole, with the trial's own data set if that is a part of it.
    seen = set() if whole_suites(transfer) else {config.data.transfer_name}
    for index, data in enumerate(transfer):
        field = f"evaluation.transfer.{index}"
        if data.transfer_name in seen:
            value = data.name if data.path is None else data.path
            refuse(f"{field}.name", value, "each data set once, and not the trial's own")
        seen.add(data.transfer_name)
        if data.source.kind != "images":
            refuse(f"{field}.name", data.name, "a data set of images")
        if side != (data.side or side):
            refuse(f"{field}.side", data.side, f"{side}, the side of the trial's images")
        if side != data.source.side and not data.source.resizable:
            refuse(f"{field}.name", data.name, f"a data set whose images can have side {side}")


def _check_readouts(config: TrialConfig) -> None:
    if config.data.source.kind == "points":
        for readout in config.evaluation.readouts:
            if readout not in _READOUTS_OF_POINTS:
                allowed = (
                    f"{', '.join(_READOUTS_OF_POINTS)}, as {config.data.name!r} are point clouds"
                )
                refuse("evaluation.readouts", readout, allowed)


def _check_schedule(optimizer: OptimizerConfig, epochs: int) -> None:
    _check_momentum("optimizer", optimizer)
    if optimizer.warmup_epochs > epochs:
        allowed = f"at most {epochs}, the epochs of the training"
        refuse("optimizer.warmup_epochs", optimizer.warmup_epochs, allowed)
