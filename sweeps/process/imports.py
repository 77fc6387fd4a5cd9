"""Imports of large libraries."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def large_imports() -> Iterator[None]:
    """While entered, nothing is searched for garbage, and what is there then never is again.

    Modules make no garbage, but so many objects that Python searches all of them again and again:
    a third of the time that torch's or Ray's import takes, and of each later full search.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
