"""Complete training steps: data, augmentation, forward passes, losses, backward pass, optimizer.

Each side has all cores and its own process; the two take steps in turn. Only ours has the
allocator's settings and the machine's fast precision, which are part of our step.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.agreement import check_step
from benchmarks.floor import share_of_rate
from benchmarks.measure import Missing, Result, ratios, seconds, time_pairs
from benchmarks.peers import PeerError, best_blur, peer
from benchmarks.sides import Side, SideError
from benchmarks.workload import Workload

_LIGHTLY = "lightly's transform and loss"
_STABLE = "stable-pretraining's loss, kornia"


def care_small() -> list[Result]:
    """Time CARE with the small encoder."""
    return _against_authors("care-step-small", Workload("small"), pairs=7)


def care_resnet18() -> list[Result]:
    """Time CARE with ResNet-18, and its share of the machine's peak rate."""
    return _against_authors("care-step-resnet18", Workload("resnet18"), pairs=3)


def care_resnet50() -> list[Result]:
    """Time CARE with ResNet-50, with a quarter of the batch: two cores are slow."""
    return _against_authors("care-step-resnet50", Workload("resnet50", batch=64), pairs=2)


def simclr_small() -> list[Result]:
    """Time SimCLR with the small encoder."""
    return _against_peers("simclr-step-small", Workload("small", equivariance=False), pairs=7)


def simclr_resnet18() -> list[Result]:
    """Time SimCLR with ResNet-18."""
    return _against_peers("simclr-step-resnet18", Workload("resnet18", equivariance=False), pairs=2)


def shared_small() -> list[Result]:
    """Time CARE with shared views against CARE and SimCLR, with the small encoder."""
    return _against_own_views("shared-views-small", "small", pairs=7)


def shared_resnet18() -> list[Result]:
    """Time CARE with shared views against CARE and SimCLR, with ResNet-18."""
    return _against_own_views("shared-views-resnet18", "resnet18", pairs=3)


def _against_own_views(name: str, encoder: str, pairs: int) -> list[Result]:
    with (
        Side("care_step", Workload(encoder, shared_views=True)) as shared,
        Side("care_step", Workload(encoder)) as own,
        Side("care_step", Workload(encoder, equivariance=False)) as simclr,
    ):
        times = [(seconds(shared), seconds(own), seconds(simclr)) for _ in range(pairs)]
    ours, care, base = zip(*times, strict=True)
    return [
        ratios(name, "CARE with its own views", list(zip(ours, care, strict=True))),
        ratios(name, "SimCLR", list(zip(ours, base, strict=True))),
    ]


def _against_authors(name: str, workload: Workload, pairs: int) -> list[Result]:
    check_step(workload)
    blur, python = best_blur()
    with (
        Side("care_step", workload) as ours,
        Side("authors", workload, python) as theirs,
        Side("floor", workload) as kernel,
    ):
        times = [(seconds(ours), seconds(theirs), seconds(kernel)) for _ in range(pairs)]
    step, other, rate = zip(*times, strict=True)
    line = ratios(name, f"the authors' step, {blur}", list(zip(step, other, strict=True)))
    return [line, share_of_rate(name, workload, step, rate)]


def _against_peers(name: str, workload: Workload, pairs: int) -> list[Result]:
    check_step(workload)
    with Side("care_step", workload) as ours:
        return [
            _against_peer(name, versus, ours, module, workload, pairs)
            for versus, module in ((_LIGHTLY, "lightly_step"), (_STABLE, "stable_step"))
        ]


def _against_peer(
    name: str, versus: str, ours: Side, module: str, workload: Workload, pairs: int
) -> Result:
    try:
        label, python = _environment(versus, module)
        with Side(module, workload, python) as theirs:
            return ratios(name, label, time_pairs(ours, theirs, pairs))
    except (PeerError, SideError) as error:
        return Missing(name, versus, str(error))


def _environment(versus: str, module: str) -> tuple[str, Path]:
    """Return the name of the line and the Python that the peer needs."""
    if module == "lightly_step":
        return versus, peer("opencv-python-headless", "lightly")
    try:
        return versus, peer("opencv-python-headless", "kornia", "stable-pretraining")
    except PeerError as error:
        return f"its recipe with kornia ({error})", peer("opencv-python-headless", "kornia")
