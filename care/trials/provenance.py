"""What a trial ran on and with, recorded beside its numbers."""

from __future__ import annotations

import functools
import platform
import socket
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from care.config import Precision
from care.system.git import git_state
from care.trials.code_version import code_version
from care.trials.records import ProvenanceRecord

_PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "ray", "optuna", "mlflow")


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


@functools.cache
def _of_this_process() -> dict[str, Any]:
    return {
        "code_version": code_version(),
        **git_state(),
        "versions": _versions(),
        "hostname": socket.gethostname(),
        "cpu": platform.processor() or platform.machine(),
    }


def provenance(
    device: torch.device,
    threads: int,
    processes: int,
    precision: Precision,
    data: Mapping[str, str],
) -> ProvenanceRecord:
    """What a trial that starts now runs on, with which code, libraries and data, and how.

    Args:
        device: Where it trains.
        threads: CPU threads.
        processes: Processes that train it together.
        precision: What its network computes in.
        data: Fingerprints of its data, as :func:`care.trials.staleness.by_field` has them.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return ProvenanceRecord(
        **_of_this_process(),
        device=device.type,
        device_name=name,
        threads=threads,
        processes=processes,
        precision=precision,
        data=dict(data),
    )
