"""Show Python's warnings of a library call as lines for the user of a command."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def shown_warnings(console: Console) -> Iterator[None]:
    """Print Python's warnings as lines for the user."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for warning in caught:
                console.print(f"warning: {warning.message}")
