"""`make test-gpu` names this folder itself: nothing here runs, or is skipped, without a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from care.system.precision import exact_float32

# Read when the GPU is first used: cuBLAS's deterministic kernels need a workspace of their own.
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """Kernels that give the same each time, so that what has to be equal can be so to the bit."""
    exact_float32()
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = before
