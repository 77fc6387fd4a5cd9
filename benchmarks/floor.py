"""How near a step comes to what this machine's cores can multiply."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.care_step import step_config
from benchmarks.measure import Line, seconds, summarize
from benchmarks.workload import SIDE, Workload
from care.cores import available_cores
from care.cost import training_flops
from care.precision import autocast, resolve_precision

# The stages of ResNet-18 on images of side 32: channels and side of the maps.
_CONVOLUTIONS = ((64, 32), (128, 16), (256, 8), (512, 4))
_BATCH = 64
_MATRIX = 2048
_REPEATS = 3


def best_rate() -> tuple[str, float]:
    """The fastest of some convolutions and a matrix product here, and its FLOP/s, on all cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(available_cores())
    try:
        with torch.no_grad():
            return max(_rates(), key=lambda found: found[1])
    finally:
        torch.set_num_threads(before)


def share_of_rate(name: str, workload: Workload, step_seconds: list[float]) -> Line:
    """FLOPs of the encoder in a step, per second, over the machine's rate at that moment."""
    config = step_config(workload)
    flops = training_flops(config, workload.batch, SIDE) * workload.steps
    what, rate = best_rate()
    versus = f"{what}: {rate / 1e9:.0f} GFLOP/s"
    shares = [flops / taken / rate for taken in step_seconds]
    return summarize(f"{name}-floor", versus, shares, "of that rate")


def _rates() -> list[tuple[str, float]]:
    device = torch.device("cpu")
    precision = resolve_precision("training.precision", "auto", device)
    with autocast(precision, device):
        found = [
            (f"{channels} channels 3×3, {precision}", _convolution(channels, side))
            for channels, side in _CONVOLUTIONS
        ]
        a = torch.randn(_MATRIX, _MATRIX)
        matrix = _rate(lambda: a @ a, 2 * _MATRIX**3)
    return [*found, (f"matrix product, {precision}", matrix)]


def _convolution(channels: int, side: int) -> float:
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    maps: Tensor = torch.randn(_BATCH, channels, side, side)
    maps = maps.contiguous(memory_format=torch.channels_last)
    return _rate(lambda: layer(maps), 2 * 9 * channels**2 * side**2 * _BATCH)


def _rate(action: Callable[[], object], flops: int) -> float:
    action()
    return flops / min(seconds(action) for _ in range(_REPEATS))
