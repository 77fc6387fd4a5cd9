"""Collect code, libraries, hardware and data of a trial, recorded beside its numbers."""

from __future__ import annotations

import functools
import os
import platform
import socket
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from care.config import Precision
from care.system.git import git_state
from care.trials.code_version import code_version
from care.trials.records import PreprocessingRecord, ProvenanceRecord

_PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "ray", "optuna", "mlflow")


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _slurm_job() -> str:
    """Return the job as ``squeue`` prints it: ``41``, or ``41_3`` within an array."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


@functools.cache
def _describe_process() -> dict[str, Any]:
    return {
        "code_version": code_version(),
        **git_state(),
        "versions": _versions(),
        "hostname": socket.gethostname(),
        "cpu": platform.processor() or platform.machine(),
        "slurm_job": _slurm_job(),
    }


def provenance(
    device: torch.device,
    threads: int,
    processes: int,
    precision: Precision,
    data: Mapping[str, str],
    plugins: Mapping[str, str],
    preprocessing: PreprocessingRecord | None = None,
) -> ProvenanceRecord:
    """Describe code, libraries, hardware and data of a trial that starts in this process.

    Args:
        device: Device of the training.
        threads: Number of CPU threads.
        processes: Number of processes that train together.
        precision: Precision of the network.
        data: Fingerprints by dotted field, see :func:`care.trials.staleness.by_field`.
        plugins: Hashes of the plugins' code, see :mod:`care.trials.plugin_versions`.
        preprocessing: How samples become the network's input, if it is known without the data.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return ProvenanceRecord(
        **_describe_process(),
        device=device.type,
        device_name=name,
        threads=threads,
        processes=processes,
        precision=precision,
        data=dict(data),
        plugins=dict(plugins),
        preprocessing=preprocessing,
    )
