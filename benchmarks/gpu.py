"""Steps on one GPU against the authors', and packs of trials against single trials."""

from __future__ import annotations

import time

import torch

from benchmarks.care_step import OneStep, build_trainer
from benchmarks.floor import share_of_rate
from benchmarks.measure import MILLISECONDS, Result, compare, ratios, seconds, summarize
from benchmarks.peers import best_blur
from benchmarks.sides import Side
from benchmarks.workload import Workload
from care.data.shared_batches import SharedBatches
from care.errors import CareError

# Lets the authors' loader refill its queue, which would take the cores of our side.
_REFILLED_SECONDS = 2.0
_SIDE_BY_SIDE_STEPS = 30


def care_small() -> list[Result]:
    """Time CARE with the small encoder."""
    return _against_authors("care-step-small-gpu", Workload("small", steps=10, device="cuda"))


def care_resnet18() -> list[Result]:
    """Time CARE with ResNet-18."""
    return _against_authors("care-step-resnet18-gpu", Workload("resnet18", steps=10, device="cuda"))


def care_resnet50() -> list[Result]:
    """Time CARE with ResNet-50."""
    return _against_authors("care-step-resnet50-gpu", Workload("resnet50", steps=5, device="cuda"))


def pack_small() -> list[Result]:
    """Time a pack of four small encoders."""
    return _pack("pack-small-gpu", Workload("small", device="cuda"), 4)


def pack_resnet18() -> list[Result]:
    """Time a pack of two ResNet-18s."""
    return _pack("pack-resnet18-gpu", Workload("resnet18", device="cuda"), 2)


def _against_authors(name: str, workload: Workload, pairs: int = 3) -> list[Result]:
    _check_gpu()
    blur, python = best_blur()
    with (
        Side("care_step", workload) as ours,
        Side("authors", workload, python) as theirs,
        Side("floor", workload) as kernel,
    ):
        times = []
        for _ in range(pairs):
            time.sleep(_REFILLED_SECONDS)
            times.append((seconds(ours), seconds(theirs), seconds(kernel)))
    step, other, rate = zip(*times, strict=True)
    what = f"the authors' step, {blur}, a loader worker for each core"
    milliseconds = [1000 * taken / workload.steps for taken in step]
    return [
        ratios(name, what, list(zip(step, other, strict=True))),
        summarize(f"{name}-ms", f"batch {workload.batch}", milliseconds, MILLISECONDS),
        share_of_rate(name, workload, step, rate),
    ]


def _pack(name: str, workload: Workload, trials: int) -> list[Result]:
    _check_gpu()
    shared = SharedBatches()
    together = [OneStep(build_trainer(workload, shared)) for _ in range(trials)]
    apart = [OneStep(build_trainer(workload)) for _ in range(trials)]

    def side_by_side() -> None:
        for _ in range(_SIDE_BY_SIDE_STEPS):
            for member in together:
                member()
        torch.cuda.synchronize()

    def one_by_one() -> None:
        for trial in apart:
            for _ in range(_SIDE_BY_SIDE_STEPS):
                trial()
        torch.cuda.synchronize()

    return [compare(name, f"{trials} trials one by one", side_by_side, one_by_one)]


def _check_gpu() -> None:
    if not torch.cuda.is_available():
        raise CareError("this machine has no Nvidia GPU that torch can use")
