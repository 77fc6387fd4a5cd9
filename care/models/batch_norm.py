"""BatchNorm over the whole batch when it is spread over processes, or over groups of its rows.

Both take the place of torch's own, with its parameters and buffers by the same names: a checkpoint
fits whichever is used, and in eval mode all are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as fn
from torch.nn.modules.batchnorm import _BatchNorm

from care.distributed.group import Group
from care.system.precision import widen

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class SynchronizedBatchNorm(nn.SyncBatchNorm):
    """Normalizes with the statistics of the rows of all processes, as one process would.

    ``torch.nn.SyncBatchNorm``, for the CPU, too.

    Args:
        features: Channels C.
        group: The processes, with equally many rows each.
    """

    def __init__(self, features: int, group: Group) -> None:
        super().__init__(features)
        self._group = group

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalize this process's rows [N,C] or [N,C,H,W]."""
        if inputs.is_cuda or not self.training:
            return super().forward(inputs)
        assert self.running_mean is not None
        assert self.running_var is not None
        narrow = inputs.dtype
        inputs = widen(inputs)  # statistics of bfloat16 rows are as wide as torch's own BatchNorm's
        mean, variance = self._statistics(inputs)
        count = self._group.size * inputs.numel() // inputs.shape[1]
        with torch.no_grad():
            unbiased = variance * (count / (count - 1))
            _follow(self, mean.detach(), unbiased)
        scale = (variance + self.eps).rsqrt()
        centered = inputs - _channels(mean, inputs)
        if not self.affine:
            return (centered * _channels(scale, inputs)).to(narrow)
        slope = _channels(scale * self.weight, inputs)
        return torch.addcmul(_channels(self.bias, inputs), centered, slope).to(narrow)

    def _statistics(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance [C] over the rows of all processes."""
        dims = [0, *range(2, inputs.dim())]
        variance, mean = torch.var_mean(inputs, dims, correction=0)
        means, variances = self._group.gather(torch.stack([mean, variance])[None]).unbind(1)
        overall = means.mean(0)
        return overall, (variances + (means - overall).square()).mean(0)


class GroupedBatchNorm(_BatchNorm):
    """Normalizes groups of consecutive rows, each with its own statistics.

    The running statistics follow the mean of the groups'. This is what BatchNorm does in a process
    for each group, yet does not depend on the number of processes.

    Args:
        features: Channels C.
        groups: Number of groups in a pass; divides its rows.
    """

    def __init__(self, features: int, groups: int) -> None:
        super().__init__(features)
        self._groups = groups

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalize [N,C] or [N,C,H,W]."""
        if not self.training or self._groups == 1:
            return super().forward(inputs)
        assert self.running_mean is not None
        assert self.running_var is not None
        mean, variance = self.running_mean.new_zeros(2, self._groups, self.num_features)
        parts = [
            # A momentum of 1 leaves the group's own statistics in the rows that would follow them.
            fn.batch_norm(part, m, v, self.weight, self.bias, True, 1.0, self.eps)
            for part, m, v in zip(inputs.chunk(self._groups), mean, variance, strict=True)
        ]
        _follow(self, mean.mean(0), variance.mean(0))
        return torch.cat(parts)

    def _check_input_dim(self, inputs: Tensor) -> None:
        """It stands for BatchNorm of one dimension and of two."""


def spread_batch_norm(module: ModuleT, groups: int, processes: Group) -> ModuleT:
    """``module`` with every BatchNorm made for its part of a batch.

    Args:
        module: Any; changed in place.
        groups: Groups of rows of the whole batch with statistics of their own; 1 for one of all.
        processes: Those that the batch is spread over; more than one group is a multiple of them.
    """
    if groups > 1:
        return grouped_batch_norm(module, groups // processes.size)
    if processes.size > 1:
        return _replaced(module, lambda norm: SynchronizedBatchNorm(norm.num_features, processes))
    return module


def grouped_batch_norm(module: ModuleT, groups: int) -> ModuleT:
    """``module``, changed in place, with BatchNorm over ``groups`` groups of each pass's rows."""
    return _replaced(module, lambda norm: GroupedBatchNorm(norm.num_features, groups))


def local_statistics(module: nn.Module) -> list[Tensor]:
    """Running statistics that follow the rows of this process alone.

    They are linear in the batches' statistics: their mean over the processes follows all rows.
    """
    norms = [norm for norm in module.modules() if isinstance(norm, GroupedBatchNorm)]
    buffers = [buffer for norm in norms for buffer in (norm.running_mean, norm.running_var)]
    return [buffer for buffer in buffers if buffer is not None]


def _follow(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance, norm.momentum)
    norm.num_batches_tracked.add_(1)


def _channels(values: Tensor, like: Tensor) -> Tensor:
    """Values [C] for each channel of [N,C,...]."""
    return values.view(-1, *[1] * (like.dim() - 2))


def _replaced(module: ModuleT, make: Callable[[_BatchNorm], _BatchNorm]) -> ModuleT:
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, _with_tensors_of(child, make(child)))
        else:
            _replaced(child, make)
    return module


def _with_tensors_of(norm: _BatchNorm, new: _BatchNorm) -> _BatchNorm:
    """``new`` with the settings, parameters and buffers of ``norm``."""
    new.eps, new.momentum, new.affine = norm.eps, norm.momentum, norm.affine
    new._parameters, new._buffers = norm._parameters, norm._buffers
    new.training = norm.training
    return new
