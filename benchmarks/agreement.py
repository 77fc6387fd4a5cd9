"""A check that two sides of a benchmark compute equal numbers from equal inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks import authors
from benchmarks.care_step import step_config
from benchmarks.networks import PlainNetwork
from benchmarks.workload import TEMPERATURE, WEIGHT, Workload
from care.models import build_network
from care.objectives.equivariance import equivariance_loss
from care.objectives.infonce import infonce

# Small images in float64: in float32 a ResNet's gradients differ by rounding alone.
_IMAGES, _SIDE, _SPLITS = 8, 8, 2


def check_step(workload: Workload) -> None:
    """Compare loss and gradients of our network and losses with the authors', on equal views.

    Raises:
        AssertionError: They differ by more than rounding.
    """
    ours = build_network(step_config(workload).model, 0).double().train()
    theirs = PlainNetwork(workload.encoder).double().train()
    _copy(ours, theirs)
    generator = torch.Generator().manual_seed(0)
    shape = (_IMAGES, 3, _SIDE, _SIDE)
    views = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(4)]
    loss = _loss(workload, [ours(view) for view in views])
    expected = _authors_loss(workload, [theirs(view) for view in views])
    torch.testing.assert_close(loss, expected)
    loss.backward()  # type: ignore[no-untyped-call]
    expected.backward()  # type: ignore[no-untyped-call]
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(mine.grad, other.grad)


def _copy(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy our weights to their network, which has them in equal order under other names."""
    names = theirs.state_dict().keys()
    values = ours.state_dict().values()
    theirs.load_state_dict(dict(zip(names, values, strict=True)))


def _loss(workload: Workload, z: list[Tensor]) -> Tensor:
    loss = infonce(z[0], z[1], TEMPERATURE)
    if workload.equivariance:
        loss = loss + WEIGHT * equivariance_loss(z[2], z[3], _SPLITS, "authors")
    return loss


def _authors_loss(workload: Workload, z: list[Tensor]) -> Tensor:
    loss = authors.infonce(z[0], z[1], TEMPERATURE)
    if workload.equivariance:
        loss = loss + WEIGHT * authors.equivariance_loss(z[2], z[3], _SPLITS)
    return loss
