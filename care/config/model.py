"""Configure the network."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from care.config.base import Model, PositiveInt, registered
from care.registry import ENCODERS


class HeadConfig(Model):
    """Projection head: Linear, BatchNorm, ReLU, Linear (docs/paper.md §5 [C]).

    Attributes:
        hidden: Width of the hidden layer.
        output: Dimension d of the embedding.
        batch_norm: Use BatchNorm; the authors' head for ImageNet-100 has none.
    """

    hidden: PositiveInt = 512
    output: Annotated[int, Field(ge=2)] = 128
    batch_norm: bool = True


class ModelConfig(Model):
    """Encoder and projection head."""

    encoder: Annotated[str, registered(ENCODERS)] = "resnet50"
    head: HeadConfig = HeadConfig()
