"""``notify:`` of a sweep: when to send a message, and where its secret address is kept."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from care.config.base import Model, check_unique, refuse

Event = Literal["end", "failure", "stall"]
EVENTS: tuple[Event, ...] = ("end", "failure", "stall")
VARIABLE = "CARE_NOTIFY"
"""Environment variable with the address, for sweeps that name no other."""


class NotifyConfig(Model):
    """When and how a sweep sends a message.

    A sweep's declaration lies in the store, in MLflow and in its report, so it may not hold an
    address that is a secret, only the place of one.

    Attributes:
        to: ``env:NAME`` or ``file:PATH`` of a webhook's address or of a command; or a command,
            which reads the message as JSON from its standard input.
        events: ``end`` of the sweep; first ``failure`` of a trial; ``stall``, no epoch for a while.
        stall_minutes: Minutes without an epoch after which a sweep counts as stalled.
    """

    to: str = f"env:{VARIABLE}"
    events: Annotated[tuple[Event, ...], Field(strict=False)] = EVENTS
    stall_minutes: Annotated[float, Field(gt=0)] = 60.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_unique(self.events)
        if "://" in self.to:
            allowed = (
                "env:NAME or file:PATH, where the address is kept: this file is copied to the "
                "store, to MLflow and to the report"
            )
            refuse("notify.to", "an address", allowed)
        if not self.to.strip():
            refuse("notify.to", self.to, "env:NAME, file:PATH, or a command")
        return self
