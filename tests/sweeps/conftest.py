"""A store that is not there yet, and a sweep of six points, for tests of plans and prices."""

from __future__ import annotations

from pathlib import Path

import pytest

from care.config import TrialConfig
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from tests.helpers.declaring import WEIGHT, load


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """Six weights with one seed."""
    return load(tmp_path, axes={WEIGHT: [0, 0.01, 0.03, 0.1, 0.3, 1]}, seeds=1)


@pytest.fixture
def configs(sweep: Sweep) -> list[TrialConfig]:
    return [sweep.trial({WEIGHT: weight}, 0) for weight in sweep.spec.axes[WEIGHT]]
