"""``python -m benchmarks.side MODULE WORKLOAD CORES``: one side of a comparison.

Each side has its own process, because the allocator's settings and thread counts belong to a
process, and peers have their own environment. For each line on standard input the side does one
step and prints a line.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.workload import Workload

_RECORDED_AFTER = 8  # steps, and some more
_WARM_UP_PART = 4


def build(module: str, workload: Workload, cores: int) -> Callable[[], object]:
    """Build the step of ``benchmarks.MODULE``, after a smaller one as a warm-up."""
    make = importlib.import_module(f"benchmarks.{module}").build
    if workload.device == "cuda":
        return _recorded(make(workload, cores))
    small = max(32, workload.batch // _WARM_UP_PART)
    make(replace(workload, batch=small), cores)()
    step: Callable[[], object] = make(workload, cores)
    return step


def _recorded(step: Callable[[], object]) -> Callable[[], object]:
    """Warm up a step until its kernels are chosen, compiled and captured."""
    for _ in range(_RECORDED_AFTER):
        step()
    torch.cuda.synchronize()
    return step


def main() -> None:
    """Serve until standard input ends."""
    # Output of libraries goes to stderr, so that it cannot be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    module, described, cores = sys.argv[1:]
    workload = Workload(**json.loads(described))
    torch.set_num_threads(int(cores))
    step = build(module, workload, int(cores))
    answers.write("ready\n")
    for _ in sys.stdin:
        for _ in range(workload.steps):
            step()
        if workload.device == "cuda":
            torch.cuda.synchronize()
        answers.write("done\n")


if __name__ == "__main__":
    main()
