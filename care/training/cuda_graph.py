"""Forward and backward pass as a CUDA graph.

A step of CARE with ResNet-18 launches thousands of kernels, one with the small encoder hundreds
that take some microseconds each, and a CPU cannot launch them as fast as a GPU runs them. A graph
is recorded once and launched as a whole: the same kernels on the same tensors, and BatchNorm sees
each view alone, as before.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from care.objectives.inputs import Views
from care.training.static_inputs import StaticInputs
from care.training.step import Passes, Terms

WARM_UP = 3
"""Steps before the one that is recorded: kernels are chosen, workspaces allocated."""


class GraphedPasses(Passes):
    """Records the passes after some steps and replays them from then on.

    They have a CUDA stream of their own: the next step's views are made beside them, and several
    trials of a process train beside each other.

    Args:
        passes: Read whatever differs from step to step from ``inputs``.
        inputs: Filled anew for each step, here.
        views: Of the step that runs, each time.
        device: A CUDA device.
        warn: Called if the passes cannot be recorded; they then run as they are.
    """

    def __init__(
        self,
        passes: Passes,
        inputs: StaticInputs,
        views: Views,
        device: torch.device,
        warn: Callable[[str], None],
    ) -> None:
        self._passes, self._inputs, self._views, self._warn = passes, inputs, views, warn
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._steps = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._terms: Terms = {}
        self._recordable = True

    @property
    def replays(self) -> bool:
        """Whether the passes are recorded."""
        return self._graph is not None

    def __call__(self) -> Terms:
        """See :class:`Passes`; the terms are written over at the next step."""
        if self._graph is None and self._recordable and self._steps >= WARM_UP:
            self._record()
        self._steps += 1
        if self._graph is None:
            return self._passes()
        self._graph.replay()
        return self._terms

    def queued(self) -> AbstractContextManager[object]:
        """Fill the inputs, then as :class:`Passes` says."""
        if not self._steps:
            # Inputs are made where they are asked for, and whoever shares them reads them outside.
            return nullcontext()
        outside = torch.cuda.current_stream(self._stream.device)
        self._inputs.refill(self._views, self.wait)
        self._stream.wait_stream(outside)
        queued: AbstractContextManager[object] = torch.cuda.stream(self._stream)
        return queued

    def wait(self) -> None:
        """See :class:`Passes`."""
        torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)

    def release(self) -> None:
        """Forget the graph and its memory, which is as much as a step's activations take."""
        self._graph, self._terms, self._steps = None, {}, 0

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads of the process may use the GPU meanwhile.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._terms = self._passes()
        except RuntimeError as error:
            self._recordable = False
            _end_recording_of_random_numbers(self._stream.device)
            reason = str(error).partition("\n")[0]
            self._warn(f"the step could not be recorded as a CUDA graph and runs slower: {reason}")
        else:
            self._graph = graph


def _end_recording_of_random_numbers(device: torch.device) -> None:
    """A recording that fails leaves torch's generator behind as if it still ran."""
    random = torch.cuda.default_generators[device.index or 0]
    random.graphsafe_set_state(random.clone_state())
