"""The forward and backward pass of a training step as a CUDA graph.

A step of CARE with ResNet-18 launches thousands of kernels, one with the small encoder hundreds
that take some microseconds each. A CPU cannot launch them as fast as a GPU runs them. A graph is
recorded once and launched as a whole: the same kernels on the same tensors. BatchNorm still sees
each view alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from care.objectives.inputs import Inputs
from care.training.step import Step, Terms

WARM_UP = 3
"""Steps before the recorded one: kernels are chosen, workspaces allocated."""


class StaticBuffers:
    """Input tensors at fixed addresses, which a recorded step reads.

    Attributes:
        inputs: The tensors by name; those of the step that was last filled in.
    """

    def __init__(self) -> None:
        self.inputs: Inputs = {}

    def fill(self, inputs: Inputs) -> None:
        """Copy a step's inputs; the first call allocates.

        Args:
            inputs: With the names and shapes of every step.
        """
        if not self.inputs:
            self.inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        else:
            new = [inputs[name] for name in self.inputs]
            torch._foreach_copy_(list(self.inputs.values()), new)


class CudaGraphStep(Step):
    """Records the passes after :data:`WARM_UP` steps and replays them from then on.

    The passes have a CUDA stream of their own. So the next step's inputs are made beside them, and
    several trials of a process train beside each other.

    Args:
        step: Runs the passes.
        device: A CUDA device.
        warn: Called if the passes cannot be recorded; they then run as they are.
    """

    def __init__(self, step: Step, device: torch.device, warn: Callable[[str], None]) -> None:
        self._step, self._warn = step, warn
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._buffers = StaticBuffers()
        self._steps = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._terms: Terms = {}
        self._recordable = True

    @property
    def replays(self) -> bool:
        """Whether the passes are recorded."""
        return self._graph is not None

    def __call__(self, inputs: Inputs) -> Terms:
        """Run both passes; see :class:`Step`."""
        self.wait()  # the last step has read the buffers
        self._buffers.fill(inputs)
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with self.stream():
            return self._run()

    def stream(self) -> AbstractContextManager[object]:
        """Queue work behind the passes while entered."""
        stream: AbstractContextManager[object] = torch.cuda.stream(self._stream)
        return stream

    def wait(self) -> None:
        """Make the current stream wait for all that was queued."""
        torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)

    def release(self) -> None:
        """Free the graph's memory, which is as much as a step's activations take."""
        self._graph, self._terms, self._steps = None, {}, 0

    def _run(self) -> Terms:
        if self._graph is None and self._recordable and self._steps >= WARM_UP:
            self._record()
        self._steps += 1
        if self._graph is None:
            return self._step(self._buffers.inputs)
        self._graph.replay()
        return self._terms

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads of the process may use the GPU meanwhile.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._terms = self._step(self._buffers.inputs)
        except RuntimeError as error:
            self._recordable = False
            _end_recording_of_random_numbers(self._stream.device)
            reason = str(error).partition("\n")[0]
            self._warn(f"the step could not be recorded as a CUDA graph and runs slower: {reason}")
        else:
            self._graph = graph


def _end_recording_of_random_numbers(device: torch.device) -> None:
    """Reset torch's generator, which a failed recording leaves as if it still ran."""
    random = torch.cuda.default_generators[device.index or 0]
    random.graphsafe_set_state(random.clone_state())
