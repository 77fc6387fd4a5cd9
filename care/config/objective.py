"""What is minimised: a base objective, plus λ L_equi, each base with the settings it has.

A method is a composition. SimCLR is ``simclr``; CARE (SimCLR) is ``simclr`` with λ > 0; EquiMod
(BYOL) is ``byol`` with ``equimod.weight`` > 0; L_equi alone is ``none`` with λ > 0.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from care.config.base import Model, NonNegative, Positive, PositiveInt

Momentum = Annotated[float, Field(ge=0, lt=1)]
Form = Literal["printed", "authors"]


class EquivarianceConfig(Model):
    """L_equi (docs/paper.md §1 and §3).

    Attributes:
        weight: λ, 0.01 on CIFAR-10 [P]; 0 trains the base objective alone and takes no further
            forward pass.
        splits: Chunks that a batch is cut into.
        augmentation: A fresh pair of augmentations per chunk [P] or one pair per batch [C].
        scale: Mean over the pairs of a chunk, or the authors' 2(m - 1) times that [C].
        space: Where rotations are asked for: the head's output [P] or its input, the encoder's
            output, normalized to the sphere, so that invariance comes after the head.
        shared_views: Use the chunks' views for the base objective, too: two forward passes a step
            instead of four, but the base sees one pair of augmentations a chunk.
    """

    weight: NonNegative = 0.0
    splits: PositiveInt = 16
    augmentation: Literal["per_chunk", "per_batch"] = "per_chunk"
    scale: Literal["mean", "authors"] = "authors"
    space: Literal["head", "encoder"] = "head"
    shared_views: bool = False


class EquimodConfig(Model):
    """EquiMod (arXiv 2211.01244): predict an augmented view's embedding from its parameters.

    Widths and temperature are those of its authors' CIFAR-10 runs. Of four views it predicts two.

    Attributes:
        weight: Of its loss, 1 in those runs; 0 trains the base alone.
        temperature: τ of its InfoNCE between embedding and prediction.
        hidden: Width of the two hidden layers of its projection head.
        output: Width of its embedding and of the projected augmentation parameters.
    """

    weight: NonNegative = 0.0
    temperature: Positive = 0.2
    hidden: PositiveInt = 2048
    output: Annotated[int, Field(ge=2)] = 128


class BaseObjectiveConfig(Model):
    """What every base objective has."""

    equivariance: EquivarianceConfig = EquivarianceConfig()


class SimclrConfig(BaseObjectiveConfig):
    """InfoNCE between two views of each image, or four.

    Attributes:
        temperature: τ; 0.5 on CIFAR and STL-10, 0.2 on ImageNet-100 [P].
        views: 4 is compute-matched to CARE's four forward passes: the mean of InfoNCE over the six
            pairs of views.
        equimod: Adds EquiMod.
    """

    name: Literal["simclr"] = "simclr"
    temperature: Positive = 0.5
    views: Literal[2, 4] = 2
    equimod: EquimodConfig = EquimodConfig()


class MocoConfig(BaseObjectiveConfig):
    """MoCo-v2: InfoNCE against a queue of keys from a momentum encoder.

    Attributes:
        temperature: τ; 0.1 on CIFAR and STL-10, 0.2 on ImageNet-100 [P].
        momentum: Of the key encoder; .99 on ImageNet-100 [C].
        queue: Keys kept, a multiple of the batch; 65,536 on ImageNet-100 [C], else not known [A].
        shuffle_groups: 1: no shuffling, the keys' BatchNorm sees the whole batch. g > 1: shuffled
            BatchNorm as on g GPUs, keys in g random groups, each with its own statistics; the
            queries' BatchNorm sees the whole batch always.
    """

    name: Literal["moco_v2"] = "moco_v2"
    temperature: Positive = 0.1
    momentum: Momentum = 0.99
    queue: PositiveInt = 4096
    shuffle_groups: PositiveInt = 1


class BarlowTwinsConfig(BaseObjectiveConfig):
    """Barlow Twins (arXiv 2103.03230) on the head's output before it is normalized.

    Attributes:
        off_diagonal: Weight of the redundancy-reduction term, 0.0051 in its paper.
    """

    name: Literal["barlow_twins"] = "barlow_twins"
    off_diagonal: NonNegative = 0.0051


class ByolConfig(BaseObjectiveConfig):
    """BYOL (arXiv 2006.07733).

    Attributes:
        momentum: Of the target network at the start; rises to 1 along a cosine.
        hidden: Width of the predictor's hidden layer, 4,096 in its paper.
        equimod: Adds EquiMod.
    """

    name: Literal["byol"] = "byol"
    momentum: Momentum = 0.996
    hidden: PositiveInt = 4096
    equimod: EquimodConfig = EquimodConfig()


class AlignmentConfig(BaseObjectiveConfig):
    """L_inv alone (Fig 10).

    Attributes:
        form: E ‖f(a(x)) - f(a'(x))‖ as printed [P], or -E f(a(x))·f(a'(x)) / τ [C].
        temperature: τ of the authors' form.
    """

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

    name: Literal["uniformity"] = "uniformity"
    form: Form = "printed"
    temperature: Positive = 0.5


class NoBaseConfig(BaseObjectiveConfig):
    """No base objective: L_equi alone (Fig 10), which has a collapsed minimum."""

    name: Literal["none"] = "none"


def _name(value: Any) -> Any:
    """Which objective a tree or a model is; ``simclr`` where it does not say."""
    return value.get("name", "simclr") if isinstance(value, dict) else getattr(value, "name", None)


ObjectiveConfig = Annotated[
    Annotated[SimclrConfig, Tag("simclr")]
    | Annotated[MocoConfig, Tag("moco_v2")]
    | Annotated[BarlowTwinsConfig, Tag("barlow_twins")]
    | Annotated[ByolConfig, Tag("byol")]
    | Annotated[AlignmentConfig, Tag("alignment")]
    | Annotated[UniformityConfig, Tag("uniformity")]
    | Annotated[NoBaseConfig, Tag("none")],
    Discriminator(_name),
]
"""One model for each name in :data:`care.registry.OBJECTIVES`."""
