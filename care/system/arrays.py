"""Archives of arrays, read whole or refused by name."""

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

# What numpy and zipfile raise for an archive that was cut, flipped or replaced.
_NO_ARCHIVE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, LookupError, NotImplementedError, TypeError, AttributeError),
    *(RuntimeError, MemoryError, SyntaxError, struct.error, zipfile.BadZipFile, zlib.error),
)
# An archive of numpy's ends with a signature, the length and offset of its list, and no comment.
_END = struct.Struct("<4s8xIIH")
_SIGNATURE = b"PK\5\6"


def read_arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a file that :func:`numpy.savez` wrote, or None when nothing is there.

    Raises:
        DamagedFileError: Something else is there, or a part of it differs from its checksum.
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
    """Check that an archive of arrays ends where it should, in constant time; see its content not.

    Raises:
        DamagedFileError: The file is missing, cut or overwritten, or something else is there.
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
