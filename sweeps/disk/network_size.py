"""Read from a checkpoint how large its network is, without loading torch or the tensors.

A file of ``torch.save`` is a zip archive. Its ``data.pkl`` has the shape and type of each tensor.
Only these are read: no class or function that the file names is ever imported.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_ITEM_BYTES = {
    "DoubleStorage": 8,
    "LongStorage": 8,
    "FloatStorage": 4,
    "IntStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
_OVERHEAD_BYTES = 250
"""Of a tensor: its name, its entry in the archive, and padding."""


def network_bytes(checkpoint: Path) -> int | None:
    """Estimate the size of a weights file of this checkpoint's network, in bytes.

    Returns:
        The estimate; None if the file is not a checkpoint that this function can read.
    """
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(name) as file:
                state = _Shapes(file).load()
        return sum(int(size) + _OVERHEAD_BYTES for size in state["network"].values())
    except Exception:  # noqa: BLE001 - a damaged pickle may raise anything
        return None


class _Shapes(pickle.Unpickler):
    """Reads a tensor as its size in bytes, and anything else that is no container as None."""

    def persistent_load(self, pid: Any) -> int:
        """Return the bytes of an item of a storage."""
        return _ITEM_BYTES[pid[1]]

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for each class or function that the file names."""
        if name in _ITEM_BYTES:
            return name
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        return _tensor_bytes if name == "_rebuild_tensor_v2" else _nothing


def _tensor_bytes(item_bytes: int, _offset: int, shape: Sequence[int], *_: object) -> int:
    return math.prod(shape) * item_bytes


def _nothing(*_: object) -> None:
    return None
