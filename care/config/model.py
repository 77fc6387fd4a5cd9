"""Encoder and projection head."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from care.config.base import Model, PositiveInt, registered
from care.registry import ENCODERS, POINT_ENCODERS


class HeadConfig(Model):
    """Projection head, Linear (no bias), BatchNorm, ReLU, Linear (CARE.md section 5 [C])."""

    hidden: PositiveInt = 512
    output: Annotated[int, Field(ge=2)] = 128


class ModelConfig(Model):
    """Encoder and projection head."""

    encoder: Annotated[str, registered((*ENCODERS, *POINT_ENCODERS))] = "resnet50"
    head: HeadConfig = HeadConfig()
