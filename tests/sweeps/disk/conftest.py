"""A store that the tests of this folder copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.store import Store
from tests.helpers.small_store import copy_store, make_small_store


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Four trials: two finished, one paused, one new."""
    return make_small_store(tmp_path_factory.mktemp("small"))


@pytest.fixture
def store(original: Store, tmp_path: Path) -> Store:
    """A copy of the store, which a test may change."""
    return copy_store(original, tmp_path / "runs")
