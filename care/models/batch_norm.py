"""BatchNorm over a batch that is spread over processes, or over groups of its rows.

Both replace torch's BatchNorm and keep the names of its parameters and buffers. So checkpoints are
interchangeable, and in eval mode all three compute equal outputs.
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
    """Normalizes with the statistics of all processes' rows; ``SyncBatchNorm`` for CPUs, too.

    Args:
        features: Number of channels C.
        group: The processes, each with an equal number of rows.
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
        dtype = inputs.dtype
        inputs = widen(inputs)  # like torch's BatchNorm, which has float32 statistics of bfloat16
        mean, variance = self._statistics(inputs)
        count = self._group.size * inputs.numel() // inputs.shape[1]
        with torch.no_grad():
            unbiased = variance * (count / (count - 1))
            _update_running_statistics(self, mean.detach(), unbiased)
        scale = (variance + self.eps).rsqrt()
        centered = inputs - _channels(mean, inputs)
        if not self.affine:
            return (centered * _channels(scale, inputs)).to(dtype)
        slope = _channels(scale * self.weight, inputs)
        return torch.addcmul(_channels(self.bias, inputs), centered, slope).to(dtype)

    def _statistics(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mean and biased variance [C] over the rows of all processes."""
        dims = [0, *range(2, inputs.dim())]
        variance, mean = torch.var_mean(inputs, dims, correction=0)
        means, variances = self._group.gather(torch.stack([mean, variance])[None]).unbind(1)
        overall = means.mean(0)
        return overall, (variances + (means - overall).square()).mean(0)


class GroupedBatchNorm(_BatchNorm):
    """Normalizes groups of consecutive rows, each with its own statistics.

    The running statistics are updated with the mean over the groups. That equals BatchNorm with one
    process per group, for any number of processes.

    Args:
        features: Number of channels C.
        groups: Number of groups per pass; divides its number of rows.
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
            # A momentum of 1 writes the group's own statistics into m and v.
            fn.batch_norm(part, m, v, self.weight, self.bias, True, 1.0, self.eps)
            for part, m, v in zip(inputs.chunk(self._groups), mean, variance, strict=True)
        ]
        _update_running_statistics(self, mean.mean(0), variance.mean(0))
        return torch.cat(parts)

    def _check_input_dim(self, inputs: Tensor) -> None:
        """Accept any input: the class replaces both BatchNorm1d and BatchNorm2d."""


def distribute_batch_norm(module: ModuleT, groups: int, processes: Group) -> ModuleT:
    """Replace every BatchNorm of a module, in place, for its process's share of a batch.

    Args:
        module: Any module.
        groups: Groups of rows of the batch, each with its own statistics; 1 for joint statistics.
            More than one is a multiple of the number of processes.
        processes: The processes over which the batch is spread.
    """
    if groups > 1:
        return group_batch_norm(module, groups // processes.size)
    if processes.size > 1:
        return _replace(module, lambda norm: SynchronizedBatchNorm(norm.num_features, processes))
    return module


def group_batch_norm(module: ModuleT, groups: int) -> ModuleT:
    """Replace every BatchNorm of a module, in place, by one over groups of each pass's rows."""
    return _replace(module, lambda norm: GroupedBatchNorm(norm.num_features, groups))


def local_statistics(module: nn.Module) -> list[Tensor]:
    """Return the running statistics that depend on this process's rows alone.

    They are linear in the batches' statistics, so their mean over the processes covers all rows.
    """
    norms = [norm for norm in module.modules() if isinstance(norm, GroupedBatchNorm)]
    buffers = [buffer for norm in norms for buffer in (norm.running_mean, norm.running_var)]
    return [buffer for buffer in buffers if buffer is not None]


def _update_running_statistics(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance, norm.momentum)
    norm.num_batches_tracked.add_(1)


def _channels(values: Tensor, like: Tensor) -> Tensor:
    """Shape values [C] so that they broadcast over [N,C,...]."""
    return values.view(-1, *[1] * (like.dim() - 2))


def _replace(module: ModuleT, make: Callable[[_BatchNorm], _BatchNorm]) -> ModuleT:
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, _take_over(child, make(child)))
        else:
            _replace(child, make)
    return module


def _take_over(norm: _BatchNorm, new: _BatchNorm) -> _BatchNorm:
    """Move settings, parameters and buffers from ``norm`` to ``new``."""
    new.eps, new.momentum, new.affine = norm.eps, norm.momentum, norm.affine
    new._parameters, new._buffers = norm._parameters, norm._buffers
    new.training = norm.training
    return new
