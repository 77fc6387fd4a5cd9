"""Draw stateless random numbers: each is a function of (seed, purpose, indices).

No generator outlives a call. So a trial that is resumed or packed draws equal numbers to one that
runs alone without interruption (docs/architecture.md, invariant 3).
"""

from __future__ import annotations

import hashlib

import numpy as np


def _key(seed: int, purpose: str, indices: tuple[int, ...]) -> int:
    """Hash (seed, purpose, indices) to 128 bits."""
    text = ":".join([str(seed), purpose, *map(str, indices)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """Create a counter-based generator for one purpose at one step of the training.

    NumPy's Philox takes all 128 bits of the key. ``torch.Generator.manual_seed`` keeps 32 bits on a
    CPU, so few that two steps of a long training would collide.

    Args:
        seed: The trial's seed.
        purpose: Name of the numbers' use, e.g. ``"order"`` or ``"view-1"``.
        *indices: Position in the training, e.g. epoch and step.
    """
    return np.random.Generator(np.random.Philox(key=_key(seed, purpose, indices)))


def torch_seed(seed: int, purpose: str, *indices: int) -> int:
    """Return a seed for ``torch.manual_seed``, for torch's own initializers."""
    return _key(seed, purpose, indices) % 2**63
