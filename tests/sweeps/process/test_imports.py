"""Imports of large libraries."""

from __future__ import annotations

import gc

import pytest

from sweeps.process.imports import large_imports


def test_garbage_is_searched_for_again_afterwards() -> None:
    with large_imports():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_import_that_fails_changes_nothing() -> None:
    with pytest.raises(ImportError), large_imports():
        raise ImportError
    assert gc.isenabled()
