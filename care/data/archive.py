"""Read complete files, plain or gzipped, without trusting their names or sizes."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO

from care.errors import CareError

LARGEST = 2**30
"""Most bytes of an unpacked file: a small archive of zeros must not fill the memory."""

_MAGIC = b"\x1f\x8b"
_CHUNK = 2**20


def read_unpacked(path: Path, largest: int = LARGEST) -> bytes:
    """Read a file and unpack it if its first bytes are those of gzip, whatever its suffix.

    Args:
        path: A regular file.
        largest: Most bytes of the result.

    Raises:
        CareError: The file is not regular, unreadable, truncated, damaged or too large.
    """
    if path.exists() and not path.is_file():
        raise CareError("not a regular file")
    try:
        with path.open("rb") as file:
            packed = file.read(len(_MAGIC)) == _MAGIC
            file.seek(0)
            if not packed:
                return _read(file, largest)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(unpacked, largest)
    except EOFError as error:
        raise CareError("gzip archive, cut before its end") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CareError(f"gzip archive, damaged: {error}") from error
    except OSError as error:
        raise CareError(error.strerror or str(error)) from error


def _read(file: IO[bytes] | gzip.GzipFile, largest: int) -> bytes:
    """Read in chunks, because one read of ``largest`` bytes would allocate them all at once."""
    chunks: list[bytes] = []
    size = 0
    while chunk := file.read(_CHUNK):
        size += len(chunk)
        if size > largest:
            raise CareError(f"holds more than {largest:,} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
