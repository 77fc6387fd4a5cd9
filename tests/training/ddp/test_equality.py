"""Several processes train to the numbers of one, for every objective, in float64 to make it sharp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from care.augmentation import Augmenter, Table
from care.config import DataConfig
from care.data.dataset import load_dataset
from care.distributed.group import ALONE, Group
from care.registry import OBJECTIVES
from care.training.trainer import Trainer
from tests.helpers.ranks import CPU, in_ranks
from tests.helpers.stepping import SMALL, config

STEPS = 3


class InDouble:
    """An augmenter whose samples come in float64."""

    def __init__(self, augmenter: Augmenter[Any]) -> None:
        self._augmenter = augmenter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._augmenter, name)

    def apply(self, table: Table, inputs: Tensor) -> Tensor:
        return self._augmenter.apply(table, inputs).double()


def train(group: Group, name: str, parts: dict[str, Any]) -> dict[str, Any]:
    """State after some steps of an epoch."""
    made = Trainer(config(name, **parts), load_dataset(DataConfig(), Path()), CPU, group)
    made.network.double()
    made.network.precision = "fp32"  # nor autocast to bfloat16, where that is fast
    made.objective.double()
    made._augmenter = InDouble(made._augmenter)
    if made.objective.equimod is not None:
        made.objective.equimod.parameters_head.register_forward_pre_hook(
            lambda _, inputs: (inputs[0].double(),)
        )
    order = made._order()
    for made.step in range(STEPS):
        made._train_step(order)
    return made.state()


def assert_equal(folder: Path, size: int, name: str, **parts: Any) -> None:
    expected = train(ALONE, name, parts)
    for state in in_ranks(size, folder, train, name, parts):
        for either in (state, expected):
            _without_unread_statistics(name, either)
        torch.testing.assert_close(state, expected, rtol=1e-7, atol=1e-9)


def _without_unread_statistics(name: str, state: dict[str, Any]) -> None:
    """With shuffled groups, MoCo's key encoder never normalizes with its running statistics."""
    if name == "moco-shuffled":
        buffers = ("running_mean", "running_var", "num_batches_tracked")
        kept = {k: v for k, v in state["objective"].items() if not k.endswith(buffers)}
        state["objective"] = kept


def test_every_objective_is_tried() -> None:
    assert {tree["name"] for tree in SMALL.values()} == set(OBJECTIVES)


@pytest.mark.parametrize("name", SMALL)
def test_two_processes_equal_one(name: str, tmp_path: Path) -> None:
    assert_equal(tmp_path, 2, name)


@pytest.mark.parametrize("splits", [1, 2, 16])
def test_chunks_of_any_size_are_spread(splits: int, tmp_path: Path) -> None:
    """A chunk may be a share of a process's rows, all of them, or lie in several processes."""
    equivariance = {"weight": 0.1, "splits": splits}
    assert_equal(tmp_path, 4, "care", objective={"name": "simclr", "equivariance": equivariance})


@pytest.mark.parametrize("name", ["care-moco", "moco-shuffled", "equimod-byol", "essl"])
def test_groups_of_rows_equal_one_process_with_as_many(name: str, tmp_path: Path) -> None:
    assert_equal(
        tmp_path, 2, name, training={"epochs": 2, "batch_size": 32, "batch_norm_groups": 4}
    )


def pause_and_go_on(group: Group) -> list[Any]:
    """Where and with what weights a process is after rank 0 stopped an epoch, and at its end."""
    made = Trainer(config("care"), load_dataset(DataConfig(), Path()), CPU, group)
    asked = iter([False, False, True])
    seen: list[Any] = []
    for stop in (lambda: next(asked), lambda: False):
        if group.rank == 0:
            made.run_epoch(stop)
        else:
            made.follow_epoch()
        weights = torch.cat([weight.detach().flatten() for weight in made.network.parameters()])
        seen.append([made.epoch, made.step, weights])
    return seen


def test_all_stop_at_the_same_step(tmp_path: Path) -> None:
    leader, follower = in_ranks(2, tmp_path, pause_and_go_on)
    assert [place[:2] for place in leader] == [[0, 2], [1, 0]]
    torch.testing.assert_close(follower, leader, rtol=0, atol=0)
