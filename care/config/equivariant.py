"""Configure the equivariant baselines, each an objective of its own: AugSelf, E-SSL, SIE, SEN, STL.

All are for images. Where a paper has no run on CIFAR-10, defaults are those of its code for other
data; docs/method.md names what differs from it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from care.config.augmentation import AugmentationConfig
from care.config.base import NonNegative, Positive, PositiveInt, refuse
from care.config.model import ModelConfig
from care.config.objective import BaseObjectiveConfig, Passes
from care.registry import Kind

Width = Annotated[int, Field(ge=2)]
Share = Annotated[float, Field(gt=0, lt=1)]
_KINDS = ("crop", "color", "flip", "blur")


class AugselfConfig(BaseObjectiveConfig):
    """AugSelf on SimCLR (arXiv 2111.09613): predict how two views' augmentations differ.

    Attributes:
        temperature: τ of InfoNCE, 0.2 in its code.
        crop: Weight of the crop's prediction; 1 on STL-10 and 0.5 on ImageNet-100 in its paper.
        color: Weight of the color jitter's prediction, as for the crop.
        flip: Weight of the flip's prediction, which its paper leaves out by default.
        blur: Weight of the blur's prediction, which its paper leaves out by default.
        hidden: Width of the two hidden layers of each predictor.
    """

    terms: ClassVar[tuple[str, ...]] = ("infonce", *_KINDS)
    kinds: ClassVar[tuple[Kind, ...]] = ("images",)

    name: Literal["augself"] = "augself"
    temperature: Positive = 0.2
    crop: NonNegative = 1.0
    color: NonNegative = 1.0
    flip: NonNegative = 0.0
    blur: NonNegative = 0.0
    hidden: PositiveInt = 512

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the terms."""
        return {"infonce": 1.0, **{kind: getattr(self, kind) for kind in _KINDS}}

    def check_augmentation(self, augmentation: AugmentationConfig) -> None:
        """Refuse the prediction of what never varies, and AugSelf without a prediction."""
        predicted = [kind for kind in _KINDS if self.weights[kind] > 0]
        if not predicted:
            refuse("objective.crop", 0, f"greater than 0 for one of {', '.join(_KINDS)}")
        for kind in predicted:
            if kind in _constant(augmentation):
                allowed = f"0, as no {kind} of {_FIELDS[kind]} varies"
                refuse(f"objective.{kind}", self.weights[kind], allowed)


_FIELDS = {
    "crop": "augmentation.crop",
    "color": "augmentation.color_jitter",
    "flip": "augmentation.horizontal_flip",
    "blur": "augmentation.gaussian_blur",
}


def _constant(augmentation: AugmentationConfig) -> set[str]:
    """Return the kinds of augmentation that are equal in all views."""
    crop, blur, jitter = augmentation.crop, augmentation.gaussian_blur, augmentation.color_jitter
    spread = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    constant = {
        "crop": crop.scale == (1, 1) and crop.ratio == (1, 1),
        "color": jitter.probability == 0 or not any(spread),
        "flip": augmentation.horizontal_flip in (0, 1),
        "blur": blur.probability == 0 or (blur.probability == 1 and blur.sigma[0] == blur.sigma[1]),
    }
    return {kind for kind, never_varies in constant.items() if never_varies}


class EsslConfig(BaseObjectiveConfig):
    """E-SSL on SimCLR (arXiv 2111.00899): predict the quarter turn of a third view.

    Values are those of its authors' CIFAR-10 runs.

    Attributes:
        temperature: τ of InfoNCE.
        rotation: Weight of the rotation's prediction.
        rotated: Size of the rotated view: ``half`` the side, so that its four turns cost one pass,
            or ``whole``, which costs four.
        hidden: Width of the two hidden layers of the predictor.
    """

    terms: ClassVar[tuple[str, ...]] = ("infonce", "rotation")
    kinds: ClassVar[tuple[Kind, ...]] = ("images",)
    shares_views: ClassVar[bool] = False

    name: Literal["essl"] = "essl"
    temperature: Positive = 0.5
    rotation: Positive = 0.4
    rotated: Literal["half", "whole"] = "half"
    hidden: Width = 2048

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the terms."""
        return {"infonce": 1.0, "rotation": self.rotation}

    @property
    def base_passes(self) -> Passes:
        """Two passes of views, and four turns of the third, with all or a quarter of the pixels."""
        return Passes(6 if self.rotated == "whole" else 3, 0)


class SieConfig(BaseObjectiveConfig):
    """SIE (arXiv 2302.10283): one part of the embedding is invariant, the other is predicted.

    Weights are those of its authors' runs with ResNet-18 on 3DIEBench.

    Attributes:
        equivariant_share: Part of the features and of the embedding that is equivariant.
        invariance: Weight of the invariant part's mean squared error.
        prediction: Weight of the equivariant part's prediction.
        variance: Weight of the variance of both parts, and of the prediction's.
        covariance: Weight of the covariance of both parts together.
    """

    terms: ClassVar[tuple[str, ...]] = (
        "invariance",
        "prediction",
        "prediction_variance",
        "variance",
        "covariance",
    )
    kinds: ClassVar[tuple[Kind, ...]] = ("images",)

    name: Literal["sie"] = "sie"
    equivariant_share: Share = 0.5
    invariance: NonNegative = 10.0
    prediction: NonNegative = 4.5
    variance: NonNegative = 10.0
    covariance: NonNegative = 1.0

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the terms."""
        names = ("invariance", "prediction", "variance", "covariance")
        weights = {name: getattr(self, name) for name in names}
        return {**weights, "prediction_variance": self.variance}

    def check_model(self, model: ModelConfig) -> None:
        """Refuse a share that leaves one of the parts without a dimension."""
        for name in ("hidden", "output"):
            width, share = getattr(model.head, name), self.equivariant_share
            if not 0 < invariant_part(width, share) < width:
                allowed = f"a share that leaves both parts a dimension of model.head.{name} {width}"
                refuse("objective.equivariant_share", share, allowed)


def invariant_part(width: int, share: float) -> int:
    """Return the number of dimensions before the equivariant ones.

    Args:
        width: Dimensions of both parts.
        share: Part that is equivariant, in (0, 1).
    """
    return width - round(width * share)


class SenConfig(BaseObjectiveConfig):
    """SEN (arXiv 2204.11371): predict one view's embedding from the other's.

    Attributes:
        form: ``infonce`` between predictions and embeddings, as SEN is compared in the code of SIE
            and seq-JEPA; or ``energy``, the hinge loss of its own paper.
        temperature: τ of InfoNCE, 0.1 in SIE's code.
        hinge: Energy from which on two images are far enough apart, 1 in its paper.
        sigma: σ of the energy ‖·‖² / (2σ²), 0.5 in its paper.
    """

    terms: ClassVar[tuple[str, ...]] = ("prediction", "hinge")
    kinds: ClassVar[tuple[Kind, ...]] = ("images",)

    name: Literal["sen"] = "sen"
    form: Literal["infonce", "energy"] = "infonce"
    temperature: Positive = 0.1
    hinge: Positive = 1.0
    sigma: Positive = 0.5


class StlConfig(BaseObjectiveConfig):
    """STL (arXiv 2501.08712): predict by a transformation that another image shows.

    Values are those of its authors' STL-10 runs.

    Attributes:
        temperature: τ of all three terms.
        invariance: Weight of InfoNCE between views.
        prediction: Weight of InfoNCE between embeddings and predictions.
        transformation: Weight of InfoNCE between the transformations of two images.
        hidden: Width of the hidden layer of the equivariant head.
        output: Width of the equivariant embedding.
        width: Width of the transformations, of their hidden layer and embedding.
    """

    terms: ClassVar[tuple[str, ...]] = ("invariance", "prediction", "transformation")
    kinds: ClassVar[tuple[Kind, ...]] = ("images",)
    shares_views: ClassVar[bool] = False

    name: Literal["stl"] = "stl"
    temperature: Positive = 0.2
    invariance: NonNegative = 1.0
    prediction: NonNegative = 1.0
    transformation: NonNegative = 0.1
    hidden: PositiveInt = 512
    output: Width = 128
    width: Width = 128

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the terms."""
        return {name: getattr(self, name) for name in self.terms}

    def check_batch(self, batch: int) -> None:
        """Refuse an odd batch: images come in pairs that share a transformation."""
        super().check_batch(batch)
        if batch % 2:
            refuse("training.batch_size", batch, "an even number with the objective 'stl'")
