"""The whole loss: a base objective, plus λ L_equi, plus EquiMod's where it is asked for."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as fn

from care.config import EquimodConfig, EquivarianceConfig, ObjectiveConfig
from care.models import Network
from care.objectives.alignment import positive_cosine
from care.objectives.base import BaseObjective
from care.objectives.equimod import EquiMod
from care.objectives.equivariance import equivariance_loss
from care.objectives.inputs import View, Views
from care.plugins import load
from care.registry import OBJECTIVES


class Objective(nn.Module):
    """What a trial minimizes, with everything that it trains or keeps beside the network.

    Args:
        config: Base objective and what is added to it.
        network: Has its initial weights; momentum encoders begin as its copies.
        seed: The trial's seed.

    Attributes:
        base: The base objective.
        equimod: EquiMod, or None.
    """

    def __init__(self, config: ObjectiveConfig, network: Network, seed: int) -> None:
        super().__init__()
        self._equivariance = config.equivariance
        self.base: BaseObjective[Any] = load(OBJECTIVES[config.name].loss)(config, network, seed)
        equimod: EquimodConfig = getattr(config, "equimod", EquimodConfig())
        self._equimod_weight = equimod.weight
        self.equimod = EquiMod(equimod, network.feature_dim, seed) if equimod.weight else None

    def forward(self, views: Views) -> dict[str, Tensor]:
        """The terms of one step's loss, scalars, by the names they are reported under.

        Args:
            views: Draws the step's views. The base's are augmented image by image, those of L_equi
                chunk by chunk (docs/paper.md §3, Algorithm 1).

        Returns:
            ``train/loss``, to be minimized, each of its terms unweighted, and
            ``train/positive_cosine``.
        """
        equivariance = self._equivariance
        chunks = self._chunk_views(views) if equivariance.weight > 0 else ()
        base_views = chunks if equivariance.shared_views and chunks else self._base_views(views)
        loss, terms, positives = self.base(base_views)
        if self.equimod is not None:
            terms["equimod"] = self.equimod(views.original(), base_views)
            loss = loss + self._equimod_weight * terms["equimod"]
        if chunks:
            terms["equivariance"] = self._equivariance_loss(*chunks)
            loss = loss + equivariance.weight * terms["equivariance"]
            positives = positives or (chunks[0].embedding.sphere, chunks[1].embedding.sphere)
        terms = {"loss": loss, **terms, "positive_cosine": positive_cosine(*positives)}
        return {f"train/{name}": value for name, value in terms.items()}

    def after_step(self, network: Network, progress: float) -> None:
        """To be called when the optimizer has stepped; see :class:`BaseObjective`."""
        self.base.after_step(network, progress)

    def _base_views(self, views: Views) -> tuple[View, ...]:
        return tuple(views.augmented(f"view-{i + 1}") for i in range(self.base.views))

    def _chunk_views(self, views: Views) -> tuple[View, ...]:
        rows = self._equivariance.splits if self._equivariance.augmentation == "per_chunk" else 1
        return tuple(views.augmented(f"chunk-{i + 1}", rows) for i in range(2))

    def _equivariance_loss(self, first: View, second: View) -> Tensor:
        config: EquivarianceConfig = self._equivariance
        z1, z2 = (self._space(view) for view in (first, second))
        return equivariance_loss(z1, z2, config.splits, config.scale)

    def _space(self, view: View) -> Tensor:
        """Where augmentations shall act as rotations, [N,·] on a unit sphere."""
        if self._equivariance.space == "head":
            return view.embedding.sphere
        return fn.normalize(view.embedding.features, dim=1)


def trainable(*modules: nn.Module) -> list[nn.Parameter]:
    """The parameters that an optimizer steps, in a fixed order."""
    return [p for module in modules for p in module.parameters() if p.requires_grad]
