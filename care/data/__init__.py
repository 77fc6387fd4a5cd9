"""Data sets: images and point clouds, downloads, caches and fingerprints.

Importing this package loads no torch: its names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from care.data.dataset import Dataset, ImageSet, load_dataset

__all__ = ["Dataset", "ImageSet", "load_dataset"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from care.data import dataset

    return getattr(dataset, name)
