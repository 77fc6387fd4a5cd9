"""What the tests of the analysis share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.example_store import MadeStore, two_methods


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def store(tmp_path: Path, rng: np.random.Generator) -> MadeStore:
    """SimCLR and CARE with two seeds each and all arrays."""
    return two_methods(tmp_path, rng)
