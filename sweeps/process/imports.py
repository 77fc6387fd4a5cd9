"""Imports of large libraries."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def large_imports() -> Iterator[None]:
    """Disable garbage collection during the import, then freeze the imported objects.

    Modules leave no garbage but many objects, which every collection would search. That takes a
    third of the time of an import of torch or Ray, and of each later full collection.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
