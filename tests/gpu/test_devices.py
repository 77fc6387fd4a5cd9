"""CPU and GPU give the same numbers within float32's rounding, and trials move between them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as fn

from care.data.dataset import Dataset
from care.training.trainer import Trainer
from tests.helpers.comparing import assert_equal
from tests.helpers.gpu_training import CUDA, dataset, of, train, trainer

CPU = torch.device("cpu")
FEW = 2


def test_a_convolution_keeps_float32s_digits() -> None:
    images, weights = torch.randn(8, 64, 16, 16), torch.randn(32, 64, 3, 3)
    expected = fn.conv2d(images.double(), weights.double())
    actual = fn.conv2d(images.to(CUDA), weights.to(CUDA)).cpu().double()
    assert (actual - expected).abs().max() / expected.abs().max() < 1e-5


@pytest.mark.parametrize("name", ["care", "care-moco", "byol", "barlow", "equimod-simclr"])
def test_a_few_steps_agree(name: str) -> None:
    optimizer = {"name": "sgd", "learning_rate": 0.01}
    settings = of(name, optimizer=optimizer)
    here, there = trainer(settings), Trainer(settings, dataset(), CPU)
    train(here, FEW)
    train(there, FEW)
    for name_, expected in there._sums.items():
        actual = here._sums[name_].cpu()
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("momentum", [{"name": "adam"}, {"name": "sgd", "momentum": 0.9}])
def test_a_trial_moves_from_a_cpu(momentum: dict[str, Any]) -> None:
    """Its moments lie in memory in another order there."""
    settings = of("care", optimizer={**momentum, "learning_rate": 1e-3})
    begun = Trainer(settings, dataset(), CPU)
    state = train(begun, FEW)
    moved = trainer(settings)
    moved.load_state(state)
    train(begun, FEW + 2)
    train(moved, FEW + 2)
    for expected, actual in zip(
        begun.network.parameters(), moved.network.parameters(), strict=True
    ):
        torch.testing.assert_close(actual.cpu(), expected, rtol=1e-3, atol=1e-4)


class Staying(Dataset):
    """As one that is larger than the GPU's memory."""

    def to(self, device: torch.device | str) -> Dataset:
        return self


def test_images_that_stay_in_the_hosts_memory_are_fed() -> None:
    settings = of("care")
    whole = dataset()
    fields = {name: getattr(whole, name) for name in whole.__dataclass_fields__}
    fed = Trainer(settings, Staying(**fields), CUDA)
    assert not fed.dataset.train.images.is_cuda
    assert_equal(train(fed), train(trainer(settings)))


def test_measures_agree() -> None:
    settings = of("care", training={"batch_size": 256})
    here = trainer(settings)
    there = Trainer(settings, dataset(), CPU)
    there.network.load_state_dict(here.network.state_dict())
    ours = here.monitor(here.network).measures
    theirs = there.monitor(there.network).measures
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=2e-3, abs=2e-3), name
