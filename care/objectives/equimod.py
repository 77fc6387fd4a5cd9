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
from care.objectives.inputs import View


class EquiMod(nn.Module):
    """A second projection head and a predictor beside any base objective.

    The predictor sees the embedding of the image as it is and the parameters of an augmentation; it
    is to predict the embedding of the augmented image. The loss is InfoNCE between embeddings and
    predictions of two views. Layers are those of its authors' CIFAR-10 runs. Where these bring the
    parameters to one scale with constants of their augmentations, here the batch's statistics do,
    so that a shift of the hue, of some hundredths, counts as much as a crop, of many pixels.

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

    def forward(self, original: View, views: Sequence[View]) -> Tensor:
        """The loss of one step.

        Args:
            original: The images as they are.
            views: Two or more of the same N images; the first two are predicted.
        """
        views = views[:2]
        features = torch.cat([view.embedding.features for view in (original, *views)])
        before, *both = self.head(features).chunk(3)
        after = torch.cat(both)
        described = self.parameters_head(torch.cat([view.parameters for view in views]))
        predicted = self.predictor(torch.cat([torch.cat([before, before]), described], dim=1))
        return infonce(
            fn.normalize(after, dim=1), fn.normalize(predicted, dim=1), self._temperature
        )


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)]


def _output(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs, affine=False)]
