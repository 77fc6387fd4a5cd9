"""Limits of a sweep: a budget of core- and GPU-hours, and the failures that end a run."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from care.config import Model

Unit = Literal["core_hours", "gpu_hours"]
UNITS: tuple[Unit, ...] = ("core_hours", "gpu_hours")
LIMITS = ("budget", "fail_fast", "max_failures")
"""Fields of a sweep that the command line sets like those of its base configuration."""


class BudgetConfig(Model):
    """The hours that all runs of a sweep may take together.

    They change neither the trials nor a search, so a budget may be raised or lowered at any time.

    Attributes:
        core_hours: Hours of the trials' processes times their cores.
        gpu_hours: Hours of the trials' processes times their GPUs; half a GPU counts as half.
    """

    core_hours: Annotated[float, Field(gt=0)] | None = None
    gpu_hours: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if not self.limits():
            raise PydanticCustomError("name", "allowed: core_hours, gpu_hours or both")
        return self

    def limits(self) -> dict[Unit, float]:
        """Return the hours by unit, of the units that are limited."""
        hours: dict[Unit, float | None] = {
            "core_hours": self.core_hours,
            "gpu_hours": self.gpu_hours,
        }
        return {unit: limit for unit, limit in hours.items() if limit is not None}


def unit_label(unit: Unit) -> str:
    """Return the word for a unit: ``core-hours`` or ``GPU-hours``."""
    return {"core_hours": "core-hours", "gpu_hours": "GPU-hours"}[unit]
