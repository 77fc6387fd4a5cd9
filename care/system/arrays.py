"""Read .npz files of arrays completely, or report the damage with the file's name."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
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
    if content is None:
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _NO_ARCHIVE as error:
        raise DamagedFileError(path, f"is damaged ({error})") from error


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
