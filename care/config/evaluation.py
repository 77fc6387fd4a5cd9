"""Configure the evaluation of a network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from care.config.augmentation import AugmentationConfig
from care.config.base import Model, NonNegative, Positive, PositiveInt, check_unique
from care.config.data import DataConfig
from care.config.training import OptimizerConfig, PrecisionChoice
from care.errors import nearest
from care.registry import DATA, SUITES

Protocol = Literal["paper", "authors"]


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


def expand_suites(transfer: Any) -> Any:
    """Replace names by mappings, and each suite of :data:`care.registry.SUITES` by its data sets.

    The data sets of ``{name: suite11, train_images: 1000}`` take the other fields of the suite.
    """
    if not isinstance(transfer, list | tuple):
        return transfer
    expanded: list[Any] = []
    for item in transfer:
        fields = {"name": item} if isinstance(item, str) else item
        name = fields.get("name") if isinstance(fields, dict) else None
        if isinstance(name, str) and name in SUITES:
            expanded += [{**fields, "name": member} for member in SUITES[name]]
        elif isinstance(name, str) and name not in DATA and nearest(name, SUITES):
            close = nearest(name, [*SUITES, *DATA])
            names = f"{', '.join(SUITES)}, or data sets: {', '.join(DATA)}"
            raise PydanticCustomError("name", f"allowed: {names}; did you mean {close!r}?")
        else:
            expanded.append(fields)
    return expanded


class EvaluationConfig(Model):
    """Measures on held-out images after each epoch (``monitor``) and at the end.

    Attributes:
        monitor_images: Number of test images used after each epoch.
        monitor_augmentations: Number of fixed augmentations for γ_f after each epoch.
        rotation_augmentations: Number of random augmentations for Wahba residuals and final γ_f.
        knn_neighbors: k of the weighted k-nearest-neighbor classifier.
        knn_temperature: τ of its weights exp(similarity / τ).
        probe_l2: L2 penalty of the linear probes, per sample.
        trained_probe: Linear probes in the protocols of the paper and of its authors' code.
        transfer: Other data sets whose classes linear probes predict, with images of the trial's
            size: names, mappings as for ``data``, or ``suite11``, the eleven sets of the papers.
        precision: Precision of the network's features, see :mod:`care.system.precision`. Measures
            are always computed in float32 or float64.
    """

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
    precision: PrecisionChoice = "fp32"


def whole_suites(transfer: Iterable[DataConfig]) -> tuple[str, ...]:
    """Name the suites (:data:`care.registry.SUITES`) of which ``transfer`` has every data set."""
    names = {data.name for data in transfer}
    return tuple(suite for suite, members in SUITES.items() if names.issuperset(members))
