"""CARE: contrastive learning whose augmentations act as rotations of the embedding sphere.

Importing this package loads no torch: its names are imported when they are first used.
``load`` gives a trained encoder, ``sweep`` the results of a sweep (docs/results.md).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from care.pretrained.load import load
    from care.pretrained.pretrained import Pretrained

    sweep: Callable[..., Any]
    __version__: str

__all__ = ["Pretrained", "load", "sweep"]

_PLACES = {
    "Pretrained": ("care.pretrained.pretrained", "Pretrained"),
    "__version__": ("care.system.version", "VERSION"),
    "load": ("care.pretrained.load", "load"),
    "sweep": ("sweeps.results", "sweep"),  # of the platform, which care does not depend on
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
