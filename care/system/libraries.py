"""The versions of installed libraries."""

from __future__ import annotations

import functools
from importlib.metadata import version


@functools.cache  # the first call imports a parser
def library_versions(*names: str) -> tuple[str, ...]:
    """Return installed libraries with their versions, e.g. ``numpy 2.3.5``."""
    return tuple(f"{name} {version(name)}" for name in names)
