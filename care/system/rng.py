"""Stateless randomness: every random number is a function of (seed, purpose, indices).

No generator lives longer than the call that needs it. So a trial that is killed and run again, or
packed with others, draws the numbers of an undisturbed one (docs/architecture.md, invariant 3).
"""

from __future__ import annotations

import hashlib

import numpy as np


def _key(seed: int, purpose: str, indices: tuple[int, ...]) -> int:
    """128 bits that differ for every (seed, purpose, indices)."""
    text = ":".join([str(seed), purpose, *map(str, indices)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """A counter-based generator for one purpose at one place of the training.

    NumPy's Philox takes the whole 128-bit key. (``torch.Generator.manual_seed`` keeps 32 bits on a
    CPU, few enough that two steps of a long training would meet.)

    Args:
        seed: The trial's seed.
        purpose: What the numbers are for, e.g. ``"order"`` or ``"view-1"``.
        *indices: Where in the training, e.g. epoch and step.
    """
    return np.random.Generator(np.random.Philox(key=_key(seed, purpose, indices)))


def torch_seed(seed: int, purpose: str, *indices: int) -> int:
    """A seed for ``torch.manual_seed``, for torch's own initialisers."""
    return _key(seed, purpose, indices) % 2**63
