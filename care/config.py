"""The configuration of a trial: one tree of frozen models, checked before anything starts.

Every field but those of :class:`RuntimeConfig` can change a number and is part of a trial's
identity (:mod:`care.identity`). Values from the paper are named after ``CARE.md``'s sections:
[P] the paper (arXiv 2306.13924), [C] the authors' code.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from care.errors import nearest
from care.registry import DATA, ENCODERS, OBJECTIVES


class Model(BaseModel):
    """Base of every configuration model: frozen, strict, no unknown field, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise PydanticCustomError("range", "allowed: a pair [low, high] with low <= high")
    return pair


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise PydanticCustomError("odd", "allowed: an odd number of pixels")
    return value


def _registered(names: tuple[str, ...]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names:
            close = nearest(name, names)
            hint = f"; did you mean {close!r}?" if close else ""
            raise PydanticCustomError("name", f"allowed: {', '.join(sorted(names))}{hint}")
        return name

    return AfterValidator(check)


Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
PositiveInt = Annotated[int, Field(gt=0)]
Range = Annotated[tuple[Positive, Positive], Field(strict=False), AfterValidator(_ordered)]


class DataConfig(Model):
    """Which images."""

    name: Annotated[str, _registered(tuple(DATA))] = "digits"


class CropConfig(Model):
    """Random resized crop: area as a fraction of the image's, and aspect ratio."""

    scale: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]],
        Field(strict=False),
        AfterValidator(_ordered),
    ] = (0.08, 1.0)
    ratio: Range = (3 / 4, 4 / 3)


class ColorJitterConfig(Model):
    """Colour jitter: factors U(1 - x, 1 + x), hue shift U(-hue, hue) in turns of the circle."""

    probability: Probability = 0.8
    brightness: Probability = 0.4
    contrast: Probability = 0.4
    saturation: Probability = 0.4
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1


class GaussianBlurConfig(Model):
    """Gaussian blur with a standard deviation U(sigma) in pixels."""

    probability: Probability = 0.5
    kernel_size: Annotated[int, Field(gt=0), AfterValidator(_odd)] = 3
    sigma: Range = (0.1, 2.0)


class AugmentationConfig(Model):
    """Distribution of the augmentations; defaults are CARE.md section 4 [C]."""

    crop: CropConfig = CropConfig()
    horizontal_flip: Probability = 0.5
    color_jitter: ColorJitterConfig = ColorJitterConfig()
    grayscale: Probability = 0.2
    gaussian_blur: GaussianBlurConfig = GaussianBlurConfig()


class HeadConfig(Model):
    """Projection head, Linear (no bias), BatchNorm, ReLU, Linear (CARE.md section 5 [C])."""

    hidden: PositiveInt = 512
    output: Annotated[int, Field(ge=2)] = 128


class ModelConfig(Model):
    """Encoder and projection head."""

    encoder: Annotated[str, _registered(tuple(ENCODERS))] = "resnet50"
    head: HeadConfig = HeadConfig()


class EquivarianceConfig(Model):
    """L_equi (CARE.md sections 1 and 3).

    Attributes:
        weight: λ; 0 trains the base objective alone and takes no further forward pass.
        splits: Chunks that a batch is cut into.
        augmentation: A fresh pair of augmentations per chunk [P] or one pair per batch [C].
        scale: Mean over the pairs of a chunk, or the authors' 2(m - 1) times that [C].
    """

    weight: NonNegative = 0.01
    splits: PositiveInt = 16
    augmentation: Literal["per_chunk", "per_batch"] = "per_chunk"
    scale: Literal["mean", "authors"] = "authors"


class ObjectiveConfig(Model):
    """What is minimised: a base objective plus λ L_equi. CARE (SimCLR) is ``simclr`` with λ > 0."""

    name: Annotated[str, _registered(tuple(OBJECTIVES))] = "simclr"
    temperature: Positive = 0.5
    equivariance: EquivarianceConfig = EquivarianceConfig()


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
        device: ``auto`` takes the first accelerator, else the CPU.
        threads: CPU threads of the trial; the device type and this are recorded with it.
        checkpoint_seconds: Longest time between two checkpoints; each epoch ends with one.
    """

    device: str = "auto"
    threads: PositiveInt | None = None
    checkpoint_seconds: Positive = 300.0


class TrialConfig(Model):
    """Everything that decides a trial's numbers, and how to run it."""

    seed: Annotated[int, Field(ge=0)] = 0
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _check_across_fields(self) -> Self:
        _check_against_data(self)
        _check_splits(self.objective.equivariance, self.training.batch_size)
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


def _check_splits(equivariance: EquivarianceConfig, batch: int) -> None:
    splits = equivariance.splits
    if equivariance.weight > 0 and (batch % splits or batch // splits < 2):
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
