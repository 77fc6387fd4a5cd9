"""Compare the results of two trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def assert_equal(actual: Any, expected: Any, context: str = "") -> None:
    """Compare tensors, or trees of them such as a trainer's state, to the bit."""
    message = context or None
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=False, msg=message)


def assert_equal_to_the_bit(trial: Path, expected: Path, context: str = "") -> None:
    """Compare what no way of running may change: metrics, measures, weights, optimizer state."""
    assert_equal_numbers(trial, expected, context)
    states = [
        torch.load(max(place.glob("checkpoint-*.pt")), weights_only=True)
        for place in (trial, expected)
    ]
    assert states[0].pop("trial_id") == states[1].pop("trial_id"), context
    assert_equal(states[0], states[1], context)


def assert_equal_numbers(trial: Path, expected: Path, context: str = "") -> None:
    """Compare metrics and measures."""
    for name in ("metrics.jsonl", "evaluation.json", "details.npz"):
        assert (trial / name).read_bytes() == (expected / name).read_bytes(), context
