"""Whatever differs from step to step passes through the inputs that a recorded step reads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from care.objectives.view import Views
from care.static_inputs import StaticInputs
from tests.comparing import assert_equal
from tests.objectives.stepping import BATCH, SMALL, trainer

STEPS = 3


def batches(made: Any) -> list[Tensor]:
    return [made.dataset.train.images[i * BATCH : (i + 1) * BATCH] for i in range(STEPS)]


def anew(name: str) -> list[dict[str, Tensor]]:
    """Terms of some steps whose tensors are made when they are asked for."""
    made = trainer(name)
    views = Views(made.network, made._augmenter, made.config.seed)
    return [
        made.objective(views.at(samples, 0, step)) for step, samples in enumerate(batches(made))
    ]


def filled(name: str) -> tuple[list[dict[str, Tensor]], list[set[int]]]:
    """The same from tensors that are filled anew, and where in memory those are."""
    made = trainer(name)
    inputs = StaticInputs()
    views = Views(made.network, made._augmenter, made.config.seed, source=inputs)
    terms, places = [], []
    for step, samples in enumerate(batches(made)):
        views.at(samples, 0, step)
        inputs.refill()
        terms.append(made.objective(views))
        places.append({tensor.data_ptr() for tensor in inputs._tensors.values()})
    return terms, places


@pytest.mark.parametrize("name", SMALL)
def test_filled_anew_they_are_those_of_the_step(name: str) -> None:
    terms, places = filled(name)
    assert_equal(terms, anew(name))
    assert places[0] == places[-1], "a graph reads where they were when it was recorded"


def test_the_last_steps_are_written_over_when_they_were_read() -> None:
    inputs = StaticInputs()
    value = 1.0
    tensor = inputs("x", lambda: torch.tensor([value]))
    seen = []
    value = 2.0
    inputs.refill(until_read=lambda: seen.append(tensor.item()))
    assert seen == [1.0]
    assert tensor.item() == 2.0
