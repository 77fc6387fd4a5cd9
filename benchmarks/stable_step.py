"""A SimCLR step by stable-pretraining's recipe: its loss, kornia on the batch, bfloat16 autocast.

Runs in the environment of the peers. bfloat16 is used where the CPU has units for it. If the
package is not installed, a reimplementation of its loss is used.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as fn

from benchmarks.kornia_views import Batches, pipeline
from benchmarks.loss_check import check_infonce
from benchmarks.networks import PlainNetwork
from benchmarks.workload import LEARNING_RATE, TEMPERATURE, WEIGHT_DECAY, Workload


def _reimplemented_loss(z1: Tensor, z2: Tensor) -> Tensor:
    """Compute the cross-entropy over similarities, with an embedding's own masked out."""
    z = torch.cat([z1, z2])
    own = torch.eye(len(z), dtype=torch.bool)
    similarities = (z @ z.T / TEMPERATURE).masked_fill(own, -torch.inf)
    return fn.cross_entropy(similarities, torch.arange(len(z)).roll(len(z1)))


def _criterion() -> Callable[[Tensor, Tensor], Tensor]:
    if importlib.util.find_spec("stable_pretraining") is None:
        return _reimplemented_loss
    package: Any = importlib.import_module("stable_pretraining.losses")
    loss: Callable[[Tensor, Tensor], Tensor] = package.NTXEntLoss(TEMPERATURE)
    return loss


def _fast_bfloat16() -> bool:
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def build(workload: Workload, cores: int) -> Callable[[], object]:  # noqa: ARG001 - as the others
    """Build the step for :mod:`benchmarks.side`."""
    criterion = _criterion()
    check_infonce(criterion)
    views, batch, fast = pipeline(), Batches(workload.batch), _fast_bfloat16()
    network = PlainNetwork(workload.encoder).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def step() -> None:
        images = batch()
        first, second = views(images), views(images)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            z1, z2 = network(first), network(second)
        loss = criterion(z1.float(), z2.float())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
