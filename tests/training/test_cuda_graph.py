"""All that differs from step to step passes through the buffers that a recorded step reads."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor

from care.training.cuda_graph import StaticBuffers
from tests.helpers.comparing import assert_equal
from tests.helpers.stepping import SMALL, inputs_of, terms_of, trainer

STEPS = 3


def from_buffers(name: str) -> tuple[list[dict[str, Tensor]], list[set[int]]]:
    """Terms of some steps that read buffers, and the buffers' addresses."""
    made = trainer(name)
    buffers = StaticBuffers()
    terms, addresses = [], []
    for step in range(STEPS):
        buffers.fill(inputs_of(made, step))
        terms.append(made.objective(made.network, buffers.inputs))
        addresses.append({tensor.data_ptr() for tensor in buffers.inputs.values()})
    return terms, addresses


@pytest.mark.parametrize("name", SMALL)
def test_a_step_that_reads_buffers_has_the_terms_of_its_inputs(name: str) -> None:
    terms, addresses = from_buffers(name)
    made = trainer(name)
    assert_equal(terms, [terms_of(made, step) for step in range(STEPS)])
    assert addresses[0] == addresses[-1], "a graph reads the addresses that it was recorded with"


def test_buffers_keep_nothing_of_the_inputs() -> None:
    """A pack's other trials read the inputs."""
    buffers = StaticBuffers()
    first, second = torch.ones(2), torch.zeros(2)
    buffers.fill({"x": first})
    buffers.fill({"x": second})
    assert torch.equal(first, torch.ones(2))
    assert torch.equal(buffers.inputs["x"], second)


@pytest.mark.parametrize("name", ["moco-shuffled", "equimod-byol"])
def test_a_trainer_is_freed_with_its_last_user(name: str) -> None:
    """On a GPU the next trial of the process needs the memory before Python searches for cycles."""
    made = trainer(name)
    asked = iter([False, False, True])
    made.run_epoch(stop=lambda: next(asked))
    network = weakref.ref(made.network)
    gc.disable()
    try:
        del made
        assert network() is None
    finally:
        gc.enable()
