"""Forward and backward pass of a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from care.objectives.inputs import Views
from care.objectives.objective import Objective

Terms = dict[str, Tensor]


class Passes(ABC):
    """Takes the views of the step that runs through networks and loss, and back."""

    @abstractmethod
    def __call__(self) -> Terms:
        """The objective's terms; the parameters' gradients are those of this step's loss."""

    def queued(self) -> AbstractContextManager[object]:
        """While entered, once for each step, work is done in order with the passes."""
        return nullcontext()

    def wait(self) -> None:  # noqa: B027 - nothing to wait for, unless work is queued
        """What comes after this is done after what was queued."""

    def release(self) -> None:  # noqa: B027 - nothing is kept, unless it is recorded
        """Give memory back that only further steps need."""


class PlainPasses(Passes):
    """One operation after the other.

    Args:
        objective: Gives the loss.
        views: Of the step that runs, each time.
        optimizer: Steps the parameters whose gradients are made.
    """

    def __init__(
        self, objective: Objective, views: Views, optimizer: torch.optim.Optimizer
    ) -> None:
        self._objective, self._views, self._optimizer = objective, views, optimizer

    def __call__(self) -> Terms:
        """See :class:`Passes`."""
        self._optimizer.zero_grad(set_to_none=True)
        terms: Terms = self._objective(self._views)
        terms["train/loss"].backward()  # type: ignore[no-untyped-call]
        return terms
