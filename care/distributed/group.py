"""The processes that train one trial together, and what they exchange inside a step.

Every process holds the same weights and takes its equal share of the batch's rows through the
networks. The embeddings are gathered, and each process computes the same loss of the whole batch:
an objective sees what it would see in one process. Backward, a gathered row collects its gradient
from all n processes, n times too much, and the mean of the weights' gradients over the processes
is then exactly the gradient of the loss.
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
    """The processes of a trial as one of them sees them; it is a member of torch's default group.

    A group of one exchanges nothing and needs no torch group.

    Attributes:
        rank: Which process this is, from 0, which leads.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    def share(self, count: int) -> slice:
        """This process's part of ``count`` rows, consecutive; ``count`` is a multiple of size."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def gather(self, rows: Tensor) -> Tensor:
        """The rows [m,...] of all processes, [size·m,...] in the order of ranks; differentiable."""
        if self.size == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows, self)  # type: ignore[no-untyped-call]
        return gathered

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, all in one message.

        ``DistributedDataParallel`` sends buckets while the backward pass still runs, but wants one
        forward pass a step, sends momentum encoders and queues, which are equal already, and turns
        absent gradients into zeros, which weight decay would then act on.
        """
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        parts = torch.split(flat.div_(self.size), [tensor.numel() for tensor in tensors])
        means = [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
        torch._foreach_copy_(list(tensors), means)

    def agree(self, decision: bool) -> bool:
        """The decision of rank 0, through the CPU: an accelerator is not waited for."""
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
        # Embeddings and statistics are small: gloo's lack of a scatter of sums costs nothing here.
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.group.share(len(total))], None
