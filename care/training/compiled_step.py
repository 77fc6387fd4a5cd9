"""A training step whose encoder is compiled: BatchNorm, ReLU and additions are fused.

On a GPU these take as long as the convolutions. Numbers differ by rounding only: between fused
operations nothing is rounded to bfloat16.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn

from care.config import TrialConfig
from care.config.cost import training_flops
from care.models import Network
from care.models.network import Encode, encode
from care.objectives.inputs import Inputs
from care.training.step import Step, Terms

# On an H100 compiling took 18 s for ResNet-18 and 28 s for ResNet-50, and gained 4 and 22 ms in
# steps of 3.4 and 8.0 TFLOP: it has paid for itself after 1.5e16 and 1.0e16 FLOP.
_WORTH_IT_FLOPS = 2e16


@functools.cache
def _compiled_encode() -> Encode:
    """Compile when first needed: torch's compiler takes a second to import."""
    return torch.compile(encode)


def compiles(config: TrialConfig, device: torch.device, samples: int, side: int) -> bool:
    """Decide whether the trial's encoder is compiled.

    The decision depends on trial and device only, so that a resumed trial decides alike.

    Args:
        config: The trial.
        device: Where it trains.
        samples: Number of its training samples.
        side: Height and width of its images in pixels, or number of points.
    """
    choice = config.runtime.compile
    if choice != "auto" or device.type != "cuda":
        return choice == "always"
    return training_flops(config, samples, side) > _WORTH_IT_FLOPS


class CompiledStep(Step):
    """Runs the passes through compiled encoders, or eagerly where compiling fails.

    Args:
        step: Runs the passes.
        modules: Hold the networks and all buffers that a pass changes.
        warn: Called if compiling fails.
    """

    def __init__(
        self, step: Step, modules: Iterable[nn.Module], warn: Callable[[str], None]
    ) -> None:
        self._step, self._warn = step, warn
        self._modules = nn.ModuleList(modules)
        self._works: bool | None = None

    def __call__(self, inputs: Inputs) -> Terms:
        """Run both passes; see :class:`Step`."""
        if self._works is None:
            return self._try(inputs)
        with _compiled(self._modules) if self._works else contextlib.nullcontext():
            return self._step(inputs)

    def _try(self, inputs: Inputs) -> Terms:
        """Run the first step; undo what a failed one did to running statistics."""
        before = [buffer.clone() for buffer in self._modules.buffers()]
        try:
            with _compiled(self._modules):
                terms = self._step(inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a compiler raises; the pass is run again
            for buffer, value in zip(self._modules.buffers(), before, strict=True):
                buffer.copy_(value)
            self._works = False
            reason = str(error).strip().partition("\n")[0]
            self._warn(f"the encoder could not be compiled and runs slower: {reason}")
            return self._step(inputs)
        self._works = True
        return terms


@contextlib.contextmanager
def _compiled(modules: nn.Module) -> Iterator[None]:
    """Run the networks' encoders compiled while entered."""
    networks = [module for module in modules.modules() if isinstance(module, Network)]
    for network in networks:
        network.encode = _compiled_encode()
    try:
        yield
    finally:
        for network in networks:
            network.encode = encode
