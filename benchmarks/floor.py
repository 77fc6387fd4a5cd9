"""The share of the machine's peak rate that a step reaches, with both measured in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.care_step import step_config
from benchmarks.measure import Line, seconds, summarize
from benchmarks.workload import SIDE, Workload
from care.config.cost import training_flops
from care.system.precision import resolve_precision

# ResNet-18's stages on images of side 32, as channels and side of the maps, and a matrix product:
# all have equal numbers of operations.
_CONVOLUTIONS = ((64, 32), (128, 16), (256, 8), (512, 4))
_BATCH = 64
_MATRICES = (1536, 1536, 1024)
_FLOPS = 9 * 2**29
# Factor on the size of each, so that it fills a GPU.
_GPU_TIMES = 16
_REPEATS, _TRIALS = 40, 4
_WHAT = "the fastest of four convolutions and a matrix product"


def build(workload: Workload, cores: int) -> Callable[[], object]:  # noqa: ARG001 - as the others
    """Build the fastest kernel for :mod:`benchmarks.side`."""
    device = torch.device(workload.device)
    times = _times(workload)
    precision = resolve_precision("training.precision", "auto", device)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    numbers = {"device": device, "dtype": dtype}

    @torch.no_grad()
    def repeat(kernel: Callable[[], object], count: int) -> None:
        for _ in range(count):
            kernel()
        if device.type == "cuda":
            torch.cuda.synchronize()

    torch.backends.cudnn.benchmark = True
    kernels = [_convolution(*shape, times * _BATCH, numbers) for shape in _CONVOLUTIONS]
    kernels.append(_product(times, numbers))
    for kernel in kernels:
        kernel()
    fastest = min(kernels, key=lambda kernel: seconds(lambda: repeat(kernel, _TRIALS)))
    return lambda: repeat(fastest, _REPEATS)


def share_of_rate(
    name: str, workload: Workload, steps: Sequence[float], kernels: Sequence[float]
) -> Line:
    """Compute the encoder's FLOP/s in a step as a share of the kernel's rate.

    Args:
        name: Name of the step's line.
        workload: The step.
        steps: Seconds of each step.
        kernels: Seconds of the kernel of :func:`build`, timed beside each step.
    """
    config = step_config(workload)
    step = training_flops(config, workload.batch, SIDE) / config.training.epochs
    flops = step * workload.steps
    rates = [_REPEATS * _times(workload) * _FLOPS / taken for taken in kernels]
    shares = [flops / taken / rate for taken, rate in zip(steps, rates, strict=True)]
    versus = f"{_WHAT}: {max(rates) / 1e9:.0f} GFLOP/s"
    return summarize(f"{name}-floor", versus, shares, "of that rate")


def _times(workload: Workload) -> int:
    return _GPU_TIMES if workload.device == "cuda" else 1


def _convolution(
    channels: int, side: int, batch: int, numbers: dict[str, Any]
) -> Callable[[], object]:
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False, **numbers)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    maps: Tensor = torch.randn(batch, channels, side, side, **numbers)
    maps = maps.contiguous(memory_format=torch.channels_last)
    return lambda: layer(maps)


def _product(times: int, numbers: dict[str, Any]) -> Callable[[], object]:
    rows, inner, columns = _MATRICES
    a, b = torch.randn(times * rows, inner, **numbers), torch.randn(inner, columns, **numbers)
    return lambda: a @ b
