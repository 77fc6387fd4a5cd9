"""Initialization as a function of the trial's seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from care.system.rng import torch_seed


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Modules made inside, on the CPU, get weights that are a function of (seed, purpose) alone.

    torch's global random state is left as it was.

    Args:
        seed: The trial's seed.
        purpose: What is made, e.g. ``"init"``.
    """
    # torch.manual_seed would also reseed every accelerator, which fork_rng does not restore here.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(torch_seed(seed, purpose))
        yield
