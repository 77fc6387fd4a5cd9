"""Communicate within a training step between the processes of one trial.

Every process has equal weights and runs an equal share of the batch's rows through the networks.
The embeddings are gathered, and each process computes the loss of the full batch, so an objective
needs no change. In the backward pass a gathered row sums its gradient over all n processes, n times
too much. So the mean of the weights' gradients over the processes is exactly the loss's gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True)
class Group:
    """A process's view of torch's default group; a group of one needs no torch group.

    Attributes:
        rank: Rank of this process; 0 leads.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    def share(self, count: int) -> slice:
        """Return the slice of this process's rows of ``count``, a multiple of size."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def gather(self, rows: Tensor) -> Tensor:
        """Gather rows [m,...] of all processes as [size·m,...], by rank; differentiable."""
        if self.size == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows, self)  # type: ignore[no-untyped-call]
        return gathered

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor in place by its mean over the processes, in one message.

        ``DistributedDataParallel`` overlaps communication with the backward pass, but is unfit
        here. It allows one forward pass per step, and sends momentum encoders and queues, which are
        equal already. It also turns absent gradients into zeros, to which weight decay would apply.
        """
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        parts = torch.split(flat.div_(self.size), [tensor.numel() for tensor in tensors])
        means = [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
        torch._foreach_copy_(list(tensors), means)

    def agree(self, decision: bool) -> bool:
        """Return rank 0's decision, sent through the CPU so that no accelerator synchronizes."""
        if self.size == 1:
            return decision
        flag = torch.tensor(int(decision))
        dist.broadcast(flag, 0)
        return bool(flag)


ALONE = Group()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: Group) -> Tensor:
        ctx.group = group
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(group.size)]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # An all-reduce, as gloo has no reduce-scatter; the rows are small.
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.group.share(len(total))], None
