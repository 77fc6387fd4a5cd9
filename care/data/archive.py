"""Reading whole files, plain or gzipped, without trusting their names or their sizes."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO

from care.errors import CareError

LARGEST = 2**30
"""Bytes that a file may hold once unpacked: an archive of zeros must not fill the memory."""

_MAGIC = b"\x1f\x8b"
_CHUNK = 2**20


def read_unpacked(path: Path, largest: int = LARGEST) -> bytes:
    """Read a file; unpack it if its first bytes are gzip's, whatever its name is.

    Args:
        path: A regular file.
        largest: Bytes allowed in the result.

    Raises:
        CareError: It is no regular file, cannot be read, is cut or changed, or holds too much.
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
    """Read in chunks, as a read of ``largest`` bytes would allocate them all at once."""
    chunks: list[bytes] = []
    size = 0
    while chunk := file.read(_CHUNK):
        size += len(chunk)
        if size > largest:
            raise CareError(f"holds more than {largest:,} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
