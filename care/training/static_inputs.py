"""Inputs of a step that keep their place in memory, for a computation that is recorded once."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from care.objectives.inputs import Make, Views


class StaticInputs:
    """What a step reads, by name: made when it is first asked for, then filled anew at each step.

    A :data:`care.objectives.inputs.Source`. A step asks for the same names as the step before.
    """

    def __init__(self) -> None:
        self._makes: dict[Hashable, Make] = {}
        self._tensors: dict[Hashable, Tensor] = {}

    def __call__(self, views: Views, name: Hashable, make: Make) -> Tensor:
        """The tensor of that name; ``make`` is kept for the steps to come."""
        if name not in self._tensors:
            self._makes[name] = make
            self._tensors[name] = make(views).clone()
        return self._tensors[name]

    @torch.no_grad()
    def refill(self, views: Views, until_read: Callable[[], None] = lambda: None) -> None:
        """Fill all that were ever asked for with those of the step that ``views`` are at.

        Args:
            views: Of the step that runs.
            until_read: Called when they are made, before the last step's are written over.
        """
        made = [make(views) for make in self._makes.values()]
        until_read()
        if made:
            torch._foreach_copy_(list(self._tensors.values()), made)
