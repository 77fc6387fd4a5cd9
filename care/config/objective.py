"""Configure the objective: a base objective with its own settings, plus λ L_equi, plus EquiMod.

SimCLR is ``simclr``; CARE (SimCLR) is ``simclr`` with λ > 0; EquiMod (BYOL) is ``byol`` with
``equimod.weight`` > 0; L_equi alone is ``none`` with λ > 0.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple, cast

from pydantic import Field

from care.config.augmentation import AugmentationConfig
from care.config.base import Model, NonNegative, Positive, PositiveInt, refuse
from care.config.choice import Choice
from care.config.model import ModelConfig
from care.errors import ConfigError, Problem
from care.plugins import load
from care.registry import OBJECTIVES, Kind

Momentum = Annotated[float, Field(ge=0, lt=1)]
Form = Literal["printed", "authors"]


class EquivarianceConfig(Model):
    """L_equi (docs/paper.md §1 and §3).

    Attributes:
        weight: λ, 0.01 on CIFAR-10 [P]; 0 trains the base objective alone, without further forward
            passes.
        splits: Number of chunks per batch.
        augmentation: A fresh pair of augmentations per chunk [P] or one pair per batch [C].
        scale: Mean over the pairs of a chunk, or the authors' 2(m - 1) times that [C].
        space: Space in which augmentations shall act as rotations: the head's output [P], or the
            encoder's output, normalized to the sphere. With the latter the head can be invariant.
        shared_views: Use the chunks' views for the base objective, too. A step then takes two
            forward passes instead of four, but the base gets one pair of augmentations per chunk.
    """

    weight: NonNegative = 0.0
    splits: PositiveInt = 16
    augmentation: Literal["per_chunk", "per_batch"] = "per_chunk"
    scale: Literal["mean", "authors"] = "authors"
    space: Literal["head", "encoder"] = "head"
    shared_views: bool = False


class EquimodConfig(Model):
    """EquiMod (arXiv 2211.01244): predict an augmented view's embedding from its parameters.

    Widths and temperature are those of its authors' CIFAR-10 runs. With four views it predicts two.

    Attributes:
        weight: Weight of the loss, 1 in those runs; 0 trains the base objective alone.
        temperature: τ of InfoNCE between embedding and prediction.
        hidden: Width of the two hidden layers of its projection head.
        output: Width of its embedding and of the projected augmentation parameters.
    """

    weight: NonNegative = 0.0
    temperature: Positive = 0.2
    hidden: PositiveInt = 2048
    output: Annotated[int, Field(ge=2)] = 128


class Passes(NamedTuple):
    """Passes of a batch through the encoder in one step.

    Attributes:
        trained: Number of forward and backward passes.
        forward: Number of forward passes without backward, e.g. through a momentum encoder.
    """

    trained: int
    forward: int


class BaseObjectiveConfig(Model):
    """Settings of a base objective, and the facts about a step that follow from them.

    A subclass gives ``name`` a default: the name that it is registered under.

    Attributes:
        terms: Names of the terms of the base objective's loss, each reported as ``train/<term>``.
        kinds: Kinds of samples that it is for.
        shares_views: Whether it can take the chunks' views (``equivariance.shared_views``).
        equivariance: Settings of L_equi, which is added to the base.
    """

    terms: ClassVar[tuple[str, ...]] = ()
    kinds: ClassVar[tuple[Kind, ...]] = ("images", "points")
    shares_views: ClassVar[bool] = True

    name: str
    equivariance: EquivarianceConfig = EquivarianceConfig()

    @property
    def base_passes(self) -> Passes:
        """Passes of the base objective alone: by default one per view of two."""
        return Passes(2, 0)

    @property
    def passes(self) -> Passes:
        """Passes of a step: 4 with CARE, 2 with SimCLR."""
        trained, forward = self.base_passes
        if self.equivariance.weight > 0:
            trained = 2 if self.equivariance.shared_views else trained + 2
        if self.equimod_weight > 0:
            trained += 1  # of the samples without augmentation
        return Passes(trained, forward)

    @property
    def equimod_weight(self) -> float:
        """Weight of EquiMod's loss; 0 for a base objective without EquiMod."""
        equimod: EquimodConfig | None = getattr(self, "equimod", None)
        return equimod.weight if equimod else 0.0

    def check_batch(self, batch: int) -> None:
        """Check the settings against the batch size and each other.

        Args:
            batch: Samples per step.

        Raises:
            PydanticCustomError: Names the field; see :func:`care.config.base.refuse`.
        """
        if self.equivariance.weight > 0:
            _check_splits(self.equivariance.splits, batch)
            if self.equivariance.shared_views and not self.shares_views:
                allowed = f"false, as {self.name!r} needs views of its own"
                refuse("objective.equivariance.shared_views", True, allowed)

    def check_augmentation(self, augmentation: AugmentationConfig) -> None:
        """Check the settings against the augmentations; raises as :meth:`check_batch` does."""

    def check_model(self, model: ModelConfig) -> None:
        """Check the settings against the network; raises as :meth:`check_batch` does."""

    def groups(self) -> dict[str, int]:
        """Return numbers that the number of processes must divide, by field of ``objective``."""
        return {}


def _check_splits(splits: int, batch: int) -> None:
    if batch % splits or batch // splits < 2:
        divisors = ", ".join(str(n) for n in range(1, batch // 2 + 1) if batch % n == 0)
        refuse(
            "objective.equivariance.splits",
            splits,
            f"a number that divides the batch of {batch} into chunks of two or more images"
            f" ({divisors})",
        )


class SimclrConfig(BaseObjectiveConfig):
    """InfoNCE between two views of each image, or four.

    Attributes:
        temperature: τ; 0.5 on CIFAR and STL-10, 0.2 on ImageNet-100 [P].
        views: Number of views. 4 matches the compute of CARE's four forward passes; the loss is the
            mean of InfoNCE over the six pairs of views.
        equimod: Settings of EquiMod, which is added to the base.
    """

    terms: ClassVar[tuple[str, ...]] = ("infonce",)

    name: Literal["simclr"] = "simclr"
    temperature: Positive = 0.5
    views: Literal[2, 4] = 2
    equimod: EquimodConfig = EquimodConfig()

    @property
    def base_passes(self) -> Passes:
        """One pass per view."""
        return Passes(self.views, 0)

    def check_batch(self, batch: int) -> None:
        """Refuse four views with ``shared_views``: chunks have two."""
        super().check_batch(batch)
        shared = self.equivariance.weight > 0 and self.equivariance.shared_views
        if shared and self.views != 2:
            refuse("objective.views", self.views, "2 with shared_views, as chunks have two views")


class MocoConfig(BaseObjectiveConfig):
    """MoCo-v2: InfoNCE against a queue of keys from a momentum encoder.

    Attributes:
        temperature: τ; 0.1 on CIFAR and STL-10, 0.2 on ImageNet-100 [P].
        momentum: Momentum of the key encoder; .99 on ImageNet-100 [C].
        queue: Number of keys, a multiple of the batch; 65,536 on ImageNet-100 [C], else ours [A].
        shuffle_groups: 1: the keys' BatchNorm uses the full batch. g > 1: shuffled BatchNorm like
            on g GPUs, with keys in g random groups, each with its own statistics. The queries'
            BatchNorm always uses the full batch.
    """

    terms: ClassVar[tuple[str, ...]] = ("infonce",)

    name: Literal["moco_v2"] = "moco_v2"
    temperature: Positive = 0.1
    momentum: Momentum = 0.99
    queue: PositiveInt = 4096
    shuffle_groups: PositiveInt = 1

    @property
    def base_passes(self) -> Passes:
        """One pass for the queries, and one of the momentum encoder for the keys."""
        return Passes(1, 1)

    def check_batch(self, batch: int) -> None:
        """Check that the queue is a multiple of the batch, and that groups have two images."""
        super().check_batch(batch)
        if self.queue % batch:
            refuse("objective.queue", self.queue, f"a multiple of the batch of {batch}")
        groups = self.shuffle_groups
        if batch % groups or batch // groups < 2:
            allowed = f"a divisor of the batch of {batch} that leaves groups of two or more images"
            refuse("objective.shuffle_groups", groups, allowed)

    def groups(self) -> dict[str, int]:
        """Return the number of shuffled groups, each of which one process encodes."""
        return {"shuffle_groups": self.shuffle_groups} if self.shuffle_groups > 1 else {}


class BarlowTwinsConfig(BaseObjectiveConfig):
    """Barlow Twins (arXiv 2103.03230) on the head's output before normalization.

    Attributes:
        off_diagonal: Weight of the redundancy-reduction term, 0.0051 in its paper.
    """

    terms: ClassVar[tuple[str, ...]] = ("barlow_twins",)

    name: Literal["barlow_twins"] = "barlow_twins"
    off_diagonal: NonNegative = 0.0051


class VicregConfig(BaseObjectiveConfig):
    """VICReg (arXiv 2105.04906) on the head's output before normalization.

    Weights are those of its authors' code; :func:`care.objectives.vicreg.vicreg_loss` says how they
    relate to the paper's equations.

    Attributes:
        invariance: Weight of the views' mean squared error.
        variance: Weight of the standard deviations below 1.
        covariance: Weight of the squared covariances of different dimensions.
    """

    terms: ClassVar[tuple[str, ...]] = ("invariance", "variance", "covariance")

    name: Literal["vicreg"] = "vicreg"
    invariance: NonNegative = 25.0
    variance: NonNegative = 25.0
    covariance: NonNegative = 1.0

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the terms."""
        return {name: getattr(self, name) for name in self.terms}


class ByolConfig(BaseObjectiveConfig):
    """BYOL (arXiv 2006.07733).

    Attributes:
        momentum: Momentum of the target network at the start; it rises to 1 along a cosine.
        hidden: Width of the predictor's hidden layer, 4,096 in its paper.
        equimod: Settings of EquiMod, which is added to the base.
    """

    terms: ClassVar[tuple[str, ...]] = ("byol",)

    name: Literal["byol"] = "byol"
    momentum: Momentum = 0.996
    hidden: PositiveInt = 4096
    equimod: EquimodConfig = EquimodConfig()

    @property
    def base_passes(self) -> Passes:
        """One pass per view of two, each also of the target network."""
        return Passes(2, 2)


class AlignmentConfig(BaseObjectiveConfig):
    """L_inv alone (Fig 10).

    Attributes:
        form: E ‖f(a(x)) - f(a'(x))‖ as printed [P], or -E f(a(x))·f(a'(x)) / τ [C].
        temperature: τ of the authors' form.
    """

    terms: ClassVar[tuple[str, ...]] = ("alignment",)

    name: Literal["alignment"] = "alignment"
    form: Form = "printed"
    temperature: Positive = 0.5


class UniformityConfig(BaseObjectiveConfig):
    """L_unif alone (Fig 10).

    Attributes:
        form: log E exp(f(x)·f(x')) within a view as printed [P], its mean over the two views [A];
            or InfoNCE's own: the mean over the 2N embeddings of log Σ over their 2N - 2 negatives
            of exp(·/τ) [C].
        temperature: τ of the authors' form.
    """

    terms: ClassVar[tuple[str, ...]] = ("uniformity",)

    name: Literal["uniformity"] = "uniformity"
    form: Form = "printed"
    temperature: Positive = 0.5


class NoBaseConfig(BaseObjectiveConfig):
    """No base objective: L_equi alone (Fig 10), which has a collapsed minimum."""

    name: Literal["none"] = "none"

    @property
    def base_passes(self) -> Passes:
        """No passes: only the chunks of L_equi are encoded."""
        return Passes(0, 0)

    def check_batch(self, batch: int) -> None:
        """Refuse λ = 0, without which there is no loss."""
        if self.equivariance.weight == 0:
            allowed = "greater than 0 with the base 'none', which has no other loss"
            refuse("objective.equivariance.weight", self.equivariance.weight, allowed)
        super().check_batch(batch)


def settings_of(name: str) -> type[BaseObjectiveConfig]:
    """Return the model of an objective's settings.

    Args:
        name: In :data:`care.registry.OBJECTIVES`.

    Raises:
        ConfigError: The model of a plugin has another name.
    """
    path = OBJECTIVES[name].config
    model = cast("type[BaseObjectiveConfig]", load(path))
    own = model.model_fields["name"].default
    if own != name:
        problem = Problem(f"{path}.name", own, f"allowed: {name}, as it is registered")
        raise ConfigError("a plugin's registration", [problem])
    return model


ObjectiveConfig = Annotated[
    BaseObjectiveConfig, Choice(BaseObjectiveConfig, OBJECTIVES, settings_of, default="simclr")
]
"""One model for each name in :data:`care.registry.OBJECTIVES`."""
