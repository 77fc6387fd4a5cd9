"""EquiMod (arXiv 2211.01244): predict what an augmentation does to an embedding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from care.augmentation.parameters import PARAMETERS
from care.config import EquimodConfig
from care.models.init import seeded
from care.objectives.infonce import infonce


class EquiMod(nn.Module):
    """A second projection head and a predictor beside any base objective.

    The predictor sees the embedding of the plain image and the parameters of an augmentation. It
    predicts the embedding of the augmented image. The loss is InfoNCE between embeddings and
    predictions of two views.

    Layers are those of its authors' CIFAR-10 runs. The authors scale the parameters with constants
    of their augmentations. Here the batch's statistics do that, so that a shift of the hue, of some
    hundredths, counts as much as a crop, of many pixels.

    Attributes:
        head: From the encoder's features to the equivariant embedding, three layers, whose
            BatchNorm sees the images as they are and both views together.
        parameters_head: Standardizes an augmentation's parameters and projects them.
        predictor: One layer, from embedding and projected parameters to the predicted embedding.
    """

    def __init__(self, config: EquimodConfig, feature_dim: int, seed: int) -> None:
        super().__init__()
        self._temperature = config.temperature
        hidden, output = config.hidden, config.output
        with seeded(seed, "equimod"):
            self.head = nn.Sequential(
                *_layer(feature_dim, hidden), *_layer(hidden, hidden), *_output(hidden, output)
            )
            self.parameters_head = nn.Sequential(
                nn.BatchNorm1d(PARAMETERS, affine=False),
                nn.Linear(PARAMETERS, output, bias=False),
                nn.BatchNorm1d(output),
            )
            self.predictor = nn.Sequential(*_output(2 * output, output))

    def forward(
        self, original: Tensor, views: Sequence[Tensor], parameters: Sequence[Tensor]
    ) -> Tensor:
        """Compute the loss of one step.

        Args:
            original: Features of the N samples as they are, [N,D].
            views: Features of two views of them, [N,D] each.
            parameters: The views' augmentation parameters, float32 [N,16] each.

        Returns:
            A scalar >= 0.
        """
        before, *both = self.head(torch.cat([original, *views])).chunk(3)
        after = torch.cat(both)
        described = self.parameters_head(torch.cat(list(parameters)))
        predicted = self.predictor(torch.cat([torch.cat([before, before]), described], dim=1))
        return infonce(
            fn.normalize(after, dim=1), fn.normalize(predicted, dim=1), self._temperature
        )


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)]


def _output(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs, affine=False)]
