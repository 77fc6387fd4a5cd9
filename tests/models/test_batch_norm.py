"""BatchNorm over groups of rows; over several processes, see tests/training/ddp."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from care.config import ModelConfig
from care.distributed.group import ALONE, Group
from care.models import build_network
from care.models.batch_norm import GroupedBatchNorm, SynchronizedBatchNorm, distribute_batch_norm

CONFIG = ModelConfig(encoder="small")
GROUPS = 4


@pytest.mark.parametrize("shape", [(32, 6), (32, 6, 5, 5)])
def test_each_group_is_normalized_as_by_a_batch_norm_of_its_own(shape: tuple[int, ...]) -> None:
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    plain = kind(6).double()
    nn.init.normal_(plain.weight)
    nn.init.normal_(plain.bias)
    grouped = GroupedBatchNorm(6, GROUPS).double()
    grouped.load_state_dict(plain.state_dict())
    inputs = torch.randn(shape, dtype=torch.float64)
    inputs += torch.arange(32).view(-1, *[1] * (len(shape) - 1))  # groups differ
    factors = torch.randn(shape, dtype=torch.float64)

    alone = [copy.deepcopy(plain) for _ in range(GROUPS)]
    parts = zip(alone, inputs.chunk(GROUPS), strict=True)
    expected = torch.cat([norm(part) for norm, part in parts])
    made = grouped(inputs)
    torch.autograd.backward([(expected * factors).sum(), (made * factors).sum()])

    torch.testing.assert_close(made, expected)
    slopes = [norm.weight.grad for norm in alone if norm.weight.grad is not None]
    torch.testing.assert_close(grouped.weight.grad, torch.stack(slopes).sum(0))
    for name in ("running_mean", "running_var"):
        mean = torch.stack([norm.get_buffer(name) for norm in alone]).mean(0)
        torch.testing.assert_close(grouped.get_buffer(name), mean)


@pytest.mark.parametrize("affine", [True, False])
def test_bfloat16_rows_have_statistics_as_wide_as_torchs(affine: bool) -> None:
    inputs = (3 + torch.randn(64, 6, 5, 5)).bfloat16()
    plain = nn.BatchNorm2d(6, affine=affine)
    spread = SynchronizedBatchNorm(6, ALONE)
    spread.affine = affine
    spread.load_state_dict(plain.state_dict(), strict=False)
    made, expected = spread(inputs), plain(inputs)
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made, expected)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(spread.get_buffer(name), plain.get_buffer(name))


@pytest.mark.parametrize(("groups", "processes"), [(1, Group(0, 2)), (4, Group(1, 2)), (4, ALONE)])
def test_checkpoints_fit_and_measures_are_equal(groups: int, processes: Group) -> None:
    """A trial may be resumed in another number of processes, and is measured in one."""
    plain = build_network(CONFIG, seed=0)
    plain(torch.randn(16, 3, 16, 16))  # moves the running statistics
    spread = distribute_batch_norm(build_network(CONFIG, seed=1), groups, processes)
    assert not any(type(module) is nn.BatchNorm2d for module in spread.modules())
    spread.load_state_dict(plain.state_dict())
    images = torch.randn(8, 3, 16, 16)
    assert torch.equal(spread.eval()(images), plain.eval()(images))


def test_alone_and_ungrouped_torchs_own_is_kept() -> None:
    network = build_network(CONFIG, seed=0)
    before = list(network.modules())
    assert list(distribute_batch_norm(network, 1, ALONE).modules()) == before
