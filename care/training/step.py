"""The forward and backward pass of a training step, one operation after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from care.models import Network
from care.objectives.inputs import Inputs
from care.objectives.objective import Objective

Terms = dict[str, Tensor]
"""The terms of a step's loss, see :meth:`Objective.forward`."""


class Step(ABC):
    """A way to run the passes: eagerly, compiled, or as a CUDA graph."""

    @abstractmethod
    def __call__(self, inputs: Inputs) -> Terms:
        """Run both passes and leave the gradients at the parameters.

        Args:
            inputs: A tensor for each of the objective's ``input_specs()``.

        Returns:
            The objective's terms, valid until the next call.
        """

    def stream(self) -> AbstractContextManager[object]:
        """Queue work behind the passes while entered."""
        return nullcontext()

    def wait(self) -> None:  # noqa: B027 - by default nothing is queued
        """Make later work wait for all that was queued."""

    def release(self) -> None:  # noqa: B027 - by default nothing is kept
        """Free the memory that only further steps need."""


class EagerStep(Step):
    """One operation after the other.

    Args:
        network: The trained network.
        objective: Computes the loss.
        optimizer: Holds the trained parameters.
    """

    def __init__(
        self, network: Network, objective: Objective, optimizer: torch.optim.Optimizer
    ) -> None:
        self._network, self._objective, self._optimizer = network, objective, optimizer

    def __call__(self, inputs: Inputs) -> Terms:
        """Run both passes; see :class:`Step`."""
        self._optimizer.zero_grad(set_to_none=True)
        terms: Terms = self._objective(self._network, inputs)
        terms["train/loss"].backward()  # type: ignore[no-untyped-call]
        return terms
