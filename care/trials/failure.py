"""Classify why a trial failed; only classes of transient failures are retried."""

from __future__ import annotations

import traceback

import torch

from care.errors import CareError
from care.system.claim import LostClaimError
from care.system.files import DiskError
from care.trials.records import ErrorRecord


class DivergedError(CareError):
    """The loss, a weight or an embedding is not finite, or an embedding is not of length 1."""


class LostError(RuntimeError):
    """Another process of the trial has ended; a retry may succeed."""


def classify(error: BaseException) -> str:
    """Return the class of an error.

    Returns:
        ``superseded`` (another process took over the trial), ``diverged``, ``disk``,
        ``user_error``, ``lost``, ``out_of_memory`` or ``error``.
    """
    if isinstance(error, LostClaimError):
        return "superseded"
    if isinstance(error, DivergedError):
        return "diverged"
    if isinstance(error, DiskError):
        return "disk"
    if isinstance(error, CareError):
        return "user_error"
    if isinstance(error, LostError):
        return "lost"
    text = str(error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text:
        return "out_of_memory"
    return "error"


def describe(error: BaseException) -> ErrorRecord:
    """Describe an error for ``status.json``."""
    return ErrorRecord(
        kind=classify(error),
        message=str(error) or type(error).__name__,
        traceback="".join(traceback.format_exception(error)),
    )
