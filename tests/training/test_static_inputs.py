"""Whatever differs from step to step passes through the inputs that a recorded step reads."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from care.objectives.inputs import Views
from care.training.static_inputs import StaticInputs
from tests.helpers.comparing import assert_equal
from tests.helpers.stepping import BATCH, SMALL, trainer

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
        inputs.refill(views)
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
    made = trainer("simclr")
    views = Views(made.network, made._augmenter, 0)
    value = 1.0
    tensor = inputs(views, "x", lambda _: torch.tensor([value]))
    seen = []
    value = 2.0
    inputs.refill(views, until_read=lambda: seen.append(tensor.item()))
    assert seen == [1.0]
    assert tensor.item() == 2.0


@pytest.mark.parametrize("name", ["moco-shuffled", "equimod-byol"])
def test_a_network_goes_with_its_last_user(name: str) -> None:
    """On a GPU the next trial of the process needs the memory, before Python searches for it."""
    made = trainer(name)
    inputs = StaticInputs()
    views = Views(made.network, made._augmenter, 0, source=inputs)
    made.objective(views.at(made.dataset.train.images[:BATCH], 0, 0))
    inputs.refill(views)
    asked = iter([False, False, True])
    made.run_epoch(stop=lambda: next(asked))
    network = weakref.ref(made.network)
    gc.disable()
    try:
        del made, views
        assert inputs._tensors
        assert network() is None
    finally:
        gc.enable()
