"""Trials that are trained with the code of one revision, whatever code runs the sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from care.config import TrialConfig


class PinnedTrial(TrialConfig):
    """A trial whose identity includes the code that trains it.

    Attributes:
        code_version: Of that code; see :mod:`care.trials.code_version`.
    """

    code_version: str


def trial_model(tree: Mapping[str, Any]) -> type[TrialConfig]:
    """Return the model of a stored configuration; a pinned one has a ``code_version``."""
    return PinnedTrial if "code_version" in tree else TrialConfig


def pin(config: TrialConfig, code_version: str) -> PinnedTrial:
    """Make the configuration of the trial that the code of a version trains."""
    fields = {name: getattr(config, name) for name in type(config).model_fields}
    return PinnedTrial.model_construct(**fields, code_version=code_version)
