"""References of a store with measures that no encoder has, for tests of how they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from care.config import TrialConfig
from care.trials.code_version import code_version
from care.trials.records import PreprocessingRecord, ProvenanceRecord
from care.trials.reference import EncoderRecord, Reference, write_reference
from care.trials.staleness import Versions


def encoder(**changes: Any) -> EncoderRecord:
    """An encoder of torchvision."""
    fields = {
        "architecture": "torchvision:resnet18",
        "weights": "random",
        "sha256": "ab" * 32,
        "preprocessing": PreprocessingRecord(
            kind="images", size=(32, 32), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)
        ),
        "has_head": False,
    }
    return EncoderRecord(**{**fields, **changes})


def keep_reference(
    root: Path,
    config: TrialConfig,
    measures: dict[str, float],
    name: str = "torchvision:resnet18:random@32",
    data: dict[str, str] | None = None,
    **changes: Any,
) -> Reference:
    """Store a reference on the present data, or on data with other fingerprints."""
    provenance = ProvenanceRecord(
        code_version=code_version(),
        threads=1,
        device="cpu",
        data=Versions().data(config) if data is None else data,
    )
    details = {"notes": np.array(["Of few images"], np.str_)}
    return write_reference(root, name, encoder(**changes), config, provenance, measures, details)
