"""What is measured of a trained network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from care.config.augmentation import AugmentationConfig
from care.config.base import Model, NonNegative, Positive, PositiveInt, once
from care.config.data import DataConfig
from care.config.training import OptimizerConfig, PrecisionChoice

Protocol = Literal["paper", "authors"]


class TrainedProbeConfig(Model):
    """Linear probes trained on augmented images, as for Table 1 (docs/paper.md §5).

    The defaults are those of CIFAR and STL-10 [P].

    Attributes:
        protocols: Which to train, none by default: they see every training image once an epoch.
            ``paper`` freezes the encoder; ``authors`` leaves its BatchNorm in training mode [C].
        initializations: Probes, whose mean and standard deviation are reported.
        epochs: Passes over the labelled training images.
        batch_size: Images a step.
        optimizer: Of constant rate but for ``milestones``.
        milestones: Epochs after which the learning rate is a tenth of what it was.
        augmentation: Of the images it is trained on; None for that of the trial.
    """

    protocols: Annotated[tuple[Protocol, ...], Field(strict=False), AfterValidator(once)] = ()
    initializations: PositiveInt = 3
    epochs: PositiveInt = 100
    batch_size: Annotated[int, Field(ge=2)] = 512
    optimizer: OptimizerConfig = OptimizerConfig()
    milestones: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = ()
    augmentation: AugmentationConfig | None = None


class EvaluationConfig(Model):
    """What is measured on held-out images, each epoch (``monitor``) and at the end.

    Attributes:
        monitor_images: Size of the fixed part of the test images used after every epoch.
        monitor_augmentations: Fixed augmentations that γ_f averages over after every epoch.
        rotation_augmentations: Random augmentations of the Wahba residual and the final γ_f.
        knn_neighbors: k of the weighted k-nearest-neighbour classifier.
        knn_temperature: τ of its weights exp(similarity / τ).
        probe_l2: L2 penalty of the linear probes, per sample.
        trained_probe: Linear probes in the protocols of the paper and of its authors.
        transfer: Other data sets whose classes are read from the same network, with images of the
            trial's side.
        precision: What the network computes features in, see :mod:`care.system.precision`. Measures
            are computed in float32 or float64 in any case.
    """

    monitor_images: Annotated[int, Field(ge=2)] = 256
    monitor_augmentations: PositiveInt = 4
    rotation_augmentations: PositiveInt = 20
    knn_neighbors: PositiveInt = 200
    knn_temperature: Positive = 0.5
    probe_l2: NonNegative = 1e-4
    trained_probe: TrainedProbeConfig = TrainedProbeConfig()
    transfer: Annotated[tuple[DataConfig, ...], Field(strict=False)] = ()
    precision: PrecisionChoice = "fp32"
