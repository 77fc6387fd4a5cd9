"""Configure the evaluation of a network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from care.config.augmentation import AugmentationConfig
from care.config.base import (
    Model,
    NonNegative,
    Positive,
    PositiveInt,
    check_not_empty,
    check_unique,
    registered,
)
from care.config.data import DataConfig
from care.config.suites import expand_suites
from care.config.training import OptimizerConfig, PrecisionChoice
from care.registry import MONITORED

Protocol = Literal["paper", "authors"]
Readout = Literal["wahba", "kinds", "augmentation", "ranking", "few_labels"]


class TrainedProbeConfig(Model):
    """Linear probes trained on augmented images, as for Table 1 (docs/paper.md §5).

    The defaults are those for CIFAR and STL-10 [P].

    Attributes:
        protocols: Protocols of the probes; none by default, as they take long. ``paper`` freezes
            the encoder; ``authors`` leaves its BatchNorm in training mode [C].
        initializations: Number of probes; mean and standard deviation over them are reported.
        epochs: Passes over the labelled training images.
        batch_size: Images per step.
        optimizer: Optimizer; its learning rate is constant except at ``milestones``.
        milestones: Epochs at which the learning rate is divided by 10.
        augmentation: Augmentation of the training images; None for that of the trial.
    """

    protocols: Annotated[
        tuple[Protocol, ...], Field(strict=False), AfterValidator(check_unique)
    ] = ()
    initializations: PositiveInt = 3
    epochs: PositiveInt = 100
    batch_size: Annotated[int, Field(ge=2)] = 512
    optimizer: OptimizerConfig = OptimizerConfig()
    milestones: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = ()
    augmentation: AugmentationConfig | None = None


_TRAIN_PART, _TEST_PART = 2000, 1000
# Written out: to list a registry imports the plugins, which may import this module.
_CHEAP = ("gamma", "alignment", "uniformity", "positive_cosine", "equivariance")


class MonitorConfig(Model):
    """Measures while a network trains (docs/method.md).

    Attributes:
        every: Epochs from one measurement to the next; the last epoch is always measured.
        measures: Names of :data:`care.registry.MONITORED`.
        train_images: Number of labelled training images that kNN and the probe learn from, equally
            many of each class; None for 2,000, or all where there are fewer.
        test_images: Number of test images for kNN, probe and rank; None for 1,000, or all.
    """

    every: PositiveInt = 1
    measures: Annotated[
        tuple[Annotated[str, registered(MONITORED)], ...],
        Field(strict=False),
        AfterValidator(check_unique),
        AfterValidator(check_not_empty),
    ] = _CHEAP
    train_images: Annotated[int, Field(ge=2)] | None = None
    test_images: Annotated[int, Field(ge=2)] | None = None

    @property
    def train_part(self) -> int:
        """Largest number of training images that are used."""
        return self.train_images or _TRAIN_PART

    @property
    def test_part(self) -> int:
        """Largest number of test images that are used without augmentation."""
        return self.test_images or _TEST_PART

    @property
    def uses_parts(self) -> bool:
        """Whether a measure uses features of ``train_images`` or ``test_images``."""
        return any(MONITORED[name].parts for name in self.measures)

    @property
    def is_default(self) -> bool:
        """Whether it measures what a configuration without ``monitor`` does."""
        return self.every == 1 and set(self.measures) == set(_CHEAP)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it reports, as far as they are defined."""
        return tuple(metric for name in self.measures for metric in MONITORED[name].names)

    def is_due(self, epoch: int, epochs: int) -> bool:
        """Check whether the network is measured after an epoch, from 1, of all ``epochs``."""
        return epoch % self.every == 0 or epoch == epochs


class EvaluationConfig(Model):
    """Measures while a network trains, and at the end.

    Attributes:
        monitor: Measures while a network trains.
        monitor_images: Number of test images that ``monitor`` augments.
        monitor_augmentations: Number of fixed augmentations for γ_f while a network trains.
        rotation_augmentations: Number of random augmentations for Wahba residuals and final γ_f.
        knn_neighbors: k of the weighted k-nearest-neighbor classifier.
        knn_temperature: τ of its weights exp(similarity / τ).
        probe_l2: L2 penalty of the linear probes, per sample.
        trained_probe: Linear probes in the protocols of the paper and of its authors' code.
        transfer: Other data sets whose classes linear probes predict, with images of the trial's
            size: names, mappings as for ``data``, or ``suite11``, the eleven sets of the papers.
        readouts: Further measures, none by default (docs/method.md, Readouts). ``wahba``: Wahba
            residual and γ_f relative to models of chance. ``kinds``: rotation and composition of
            each kind of image augmentation alone. ``augmentation``: parameters of an augmentation,
            read from features before and after it. ``ranking``: rank of f(a(x)) by R_a f(x), with
            R_a fitted to training images. ``few_labels``: classes from 1 % and 10 % of the labels,
            and few-shot episodes.
        precision: Precision of the network's features, see :mod:`care.system.precision`. Measures
            are always computed in float32 or float64.
    """

    monitor: MonitorConfig = MonitorConfig()
    monitor_images: Annotated[int, Field(ge=2)] = 256
    monitor_augmentations: PositiveInt = 4
    rotation_augmentations: PositiveInt = 20
    knn_neighbors: PositiveInt = 200
    knn_temperature: Positive = 0.5
    probe_l2: NonNegative = 1e-4
    trained_probe: TrainedProbeConfig = TrainedProbeConfig()
    transfer: Annotated[
        tuple[DataConfig, ...], Field(strict=False), BeforeValidator(expand_suites)
    ] = ()
    readouts: Annotated[tuple[Readout, ...], Field(strict=False), AfterValidator(check_unique)] = ()
    precision: PrecisionChoice = "fp32"


def is_monitor(field: str) -> bool:
    """Check whether a dotted field is ``evaluation.monitor`` or lies in it."""
    return f"{field}.".startswith("evaluation.monitor.")
