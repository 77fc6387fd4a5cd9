"""Initialize weights as a function of the trial's seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from care.system.rng import torch_seed


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Initialize modules built inside the context, on the CPU, from (seed, purpose) alone.

    torch's global random state is restored.

    Args:
        seed: The trial's seed.
        purpose: Name of the weights' use, e.g. ``"init"``.
    """
    # Not torch.manual_seed: it reseeds every accelerator, which fork_rng does not restore here.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(torch_seed(seed, purpose))
        yield
