"""Read .npz files of arrays completely, or report the damage with the file's name."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care.system.files import DamagedFileError, read_tail, read_whole

# Errors of numpy and zipfile on truncated, changed or replaced archives.
_NO_ARCHIVE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, LookupError, NotImplementedError, TypeError, AttributeError),
    *(RuntimeError, MemoryError, SyntaxError, struct.error, zipfile.BadZipFile, zlib.error),
)
# A zip archive of numpy ends with a signature, length and offset of its directory, and no comment.
_END = struct.Struct("<4s8xIIH")
_SIGNATURE = b"PK\5\6"


def read_arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a file of :func:`numpy.savez`, or None without a file.

    Raises:
        DamagedFileError: The path is no such file, or an array's checksum is wrong.
    """
    content = read_whole(path)
    return None if content is None else parse_arrays(path, content)


def parse_arrays(path: Path, content: bytes) -> dict[str, NDArray[Any]]:
    """Parse the content of ``path`` as arrays by name; see :func:`read_arrays`."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _NO_ARCHIVE as error:
        raise DamagedFileError(path, f"is damaged ({error})") from error


class LazyArrays(Mapping[str, NDArray[Any]]):
    """The arrays of an undamaged file of :func:`numpy.savez`, each decoded when first needed.

    Args:
        path: The file.
        content: Its content, of which a checksum was compared.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self._path, self._content = path, content
        self._decoded: dict[str, NDArray[Any] | None] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._decoded:
            with self._open() as file:
                self._decoded[name] = file[name] if name in file.files else None
        array = self._decoded[name]
        if array is None:
            raise KeyError(name)
        return array

    def __iter__(self) -> Iterator[str]:
        with self._open() as file:
            return iter(file.files)

    def __len__(self) -> int:
        return len(list(iter(self)))

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            with np.load(io.BytesIO(self._content), allow_pickle=False) as file:
                yield file
        except _NO_ARCHIVE as error:
            raise DamagedFileError(self._path, f"is damaged ({error})") from error


def check_end(path: Path) -> None:
    """Check in constant time that an .npz file is not truncated; its content is not read.

    Raises:
        DamagedFileError: The file is missing, truncated, overwritten, or no regular file.
    """
    tail = read_tail(path, _END.size)
    if tail is None:
        raise DamagedFileError(path, "is missing")
    size, end = tail
    if len(end) == _END.size:
        signature, length, offset, _ = _END.unpack(end)
        if signature == _SIGNATURE and offset + length + len(end) == size:
            return
    raise DamagedFileError(path, "is cut or overwritten")
