"""What a trial ran on and with, recorded beside its numbers."""

from __future__ import annotations

import functools
import platform
import socket
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from care.config import Precision
from care.files import read_json
from care.identity import code_version

SNAPSHOT = "snapshot.json"
"""Beside a copy of the code: the state of git when it was made."""

_PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "ray", "optuna", "mlflow")


def _git(*arguments: str) -> str | None:
    """Output of git on the checkout this code runs from, or None outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def git_state() -> dict[str, Any]:
    """Commit of this code and whether it was edited since: now, or when its copy was made."""
    snapshot = read_json(Path(__file__).parents[1] / SNAPSHOT)
    if snapshot:
        return dict(snapshot)
    changes = _git("status", "--porcelain")
    dirty = None if changes is None else bool(changes)
    return {"git_commit": _git("rev-parse", "HEAD"), "git_dirty": dirty}


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
) -> dict[str, Any]:
    """What a trial that starts now runs on, with which code, libraries and data, and how.

    Args:
        device: Where it trains.
        threads: CPU threads.
        processes: Processes that train it together.
        precision: What its network computes in.
        data: Fingerprints of its data, as :func:`care.staleness.by_field` has them.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        **_of_this_process(),
        "device": device.type,
        "device_name": name,
        "threads": threads,
        "processes": processes,
        "precision": precision,
        "data": dict(data),
    }
