"""The whole loss: a base objective, plus λ L_equi, plus EquiMod's loss."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as fn

from care.config import EquimodConfig, EquivarianceConfig, ObjectiveConfig
from care.distributed.group import ALONE, Group
from care.errors import ConfigError, Problem
from care.models import Embedding, Network
from care.objectives.alignment import positive_cosine
from care.objectives.base import BaseObjective
from care.objectives.equimod import EquiMod
from care.objectives.equivariance import equivariance_loss
from care.objectives.inputs import Inputs, InputSpec, ParametersSpec, ViewSpec
from care.objectives.view import View
from care.plugins import load
from care.registry import OBJECTIVES

ORIGINAL = ViewSpec("original", augmented=False)
"""The samples as they are, for EquiMod."""


class Objective(nn.Module):
    """The loss that a trial minimizes, with all that is trained or kept beside the network.

    Args:
        config: Base objective and the losses that are added to it.
        network: The trained network with its initial weights; momentum encoders start as copies.
        seed: The trial's seed.
        group: The processes that the batch is spread over.

    Raises:
        ConfigError: ``shared_views`` with a base objective that does not take two views.

    Attributes:
        base: The base objective.
        equimod: EquiMod, or None.
    """

    def __init__(
        self, config: ObjectiveConfig, network: Network, seed: int, group: Group = ALONE
    ) -> None:
        super().__init__()
        self._group = group
        self._equivariance = config.equivariance
        self.base: BaseObjective[Any] = load(OBJECTIVES[config.name].loss)(config, network, seed)
        equimod: EquimodConfig = getattr(config, "equimod", EquimodConfig())
        self._equimod_weight = equimod.weight
        self.equimod = EquiMod(equimod, network.feature_dim, seed) if equimod.weight else None
        self._chunks = _chunk_views(config.equivariance)
        self._views = self.base.view_specs()
        if config.equivariance.shared_views and self._chunks:
            if self.base.views not in (0, 2):
                allowed = f"allowed: false, as {config.name} takes {self.base.views} views"
                field = "objective.equivariance.shared_views"
                raise ConfigError("trial", [Problem(field, True, allowed)])
            self._views = self._chunks
        self._others = self.base.input_specs(self._views)

    def input_specs(self) -> tuple[InputSpec, ...]:
        """Declare the inputs of a step.

        The base's views are augmented sample by sample, those of L_equi chunk by chunk
        (docs/paper.md §3, Algorithm 1).
        """
        specs: list[InputSpec] = [*self._views, *self._chunks, *self._others]
        if self.equimod is not None:
            specs += [ORIGINAL, *map(ParametersSpec, self._views[:2])]
        return tuple(dict.fromkeys(specs))

    def forward(self, network: Network, inputs: Inputs) -> dict[str, Tensor]:
        """Compute the terms of one step's loss, by the names under which they are reported.

        Args:
            network: The trained network.
            inputs: A tensor for each of :meth:`input_specs`.

        Returns:
            Scalars: ``train/loss``, to be minimized, each of its terms unweighted, and
            ``train/positive_cosine``.
        """
        # Keyed by specification: a view of both losses is one View, which is embedded once.
        views = {
            spec: View(inputs[spec.name], network, self._group)
            for spec in (*self._views, *self._chunks)
        }
        others = {spec.name: inputs[spec.name] for spec in self._others}
        loss, terms, positives = self.base(*(views[spec] for spec in self._views), **others)
        if self.equimod is not None:
            original = View(inputs[ORIGINAL.name], network, self._group).embedding.features
            features = [views[spec].embedding.features for spec in self._views[:2]]
            parameters = [inputs[ParametersSpec(spec).name] for spec in self._views[:2]]
            terms["equimod"] = self.equimod(original, features, parameters)
            loss = loss + self._equimod_weight * terms["equimod"]
        if self._chunks:
            first, second = (views[spec].embedding for spec in self._chunks)
            terms["equivariance"] = self._equivariance_loss(first, second)
            loss = loss + self._equivariance.weight * terms["equivariance"]
            positives = positives or (first.sphere, second.sphere)
        terms = {"loss": loss, **terms, "positive_cosine": positive_cosine(*positives)}
        return {f"train/{name}": value for name, value in terms.items()}

    def after_step(self, network: Network, progress: float) -> None:
        """Update what is not trained; see :meth:`BaseObjective.after_step`."""
        self.base.after_step(network, progress)

    def _equivariance_loss(self, first: Embedding, second: Embedding) -> Tensor:
        config = self._equivariance
        if config.space == "head":
            z1, z2 = first.sphere, second.sphere
        else:  # the encoder's output, on a sphere of its own
            z1, z2 = (fn.normalize(embedding.features, dim=1) for embedding in (first, second))
        return equivariance_loss(z1, z2, config.splits, config.scale)


def _chunk_views(config: EquivarianceConfig) -> tuple[ViewSpec, ...]:
    """Return the pair of views of L_equi, or none without L_equi."""
    if config.weight == 0:
        return ()
    rows = config.splits if config.augmentation == "per_chunk" else 1
    return ViewSpec("chunk-1", rows), ViewSpec("chunk-2", rows)


def trainable(*modules: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that an optimizer steps, in a fixed order."""
    return [p for module in modules for p in module.parameters() if p.requires_grad]
