"""Whole training steps: data, augmentation, forward passes, losses, backward pass, optimizer.

Each side has all cores and runs in a process of its own, the two in turn. Ours alone has the
allocator's settings, which are part of what it does; the machine's fast precision likewise.
"""

from __future__ import annotations

from benchmarks import authors
from benchmarks.agreement import check_step
from benchmarks.measure import Found, ratios, time_pairs
from benchmarks.opponents import Side
from benchmarks.workload import Workload

_AUTHORS = f"the authors' step, fp32, {authors.BLUR}"


def care_small() -> list[Found]:
    """CARE with the small encoder."""
    return _against_authors("care-step-small", Workload("small"), pairs=5)


def care_resnet18() -> list[Found]:
    """CARE with ResNet-18."""
    return _against_authors("care-step-resnet18", Workload("resnet18"), pairs=2)


def care_resnet50() -> list[Found]:
    """CARE with ResNet-50 and a quarter of the batch, as a step takes long on two cores."""
    return _against_authors("care-step-resnet50", Workload("resnet50", batch=64), pairs=2)


def _against_authors(name: str, workload: Workload, pairs: int) -> list[Found]:
    check_step(workload)
    with Side("care_step", workload) as ours, Side("authors", workload) as theirs:
        return [ratios(name, _AUTHORS, time_pairs(ours, theirs, pairs))]
