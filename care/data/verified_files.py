"""Read files only if they have the expected checksum, and pickles without running their code."""

from __future__ import annotations

import hashlib
import io
import pickle
import pickletools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from care.errors import CareError

_CHUNK = 2**20


class _ArraysOnly(pickle.Unpickler):
    """Unpickles containers, numbers, text and numpy arrays; calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "numpy", "ndarray":
                return np.ndarray
            case "numpy", "dtype":
                return np.dtype
            case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
                return _reconstruct
            case "_codecs", "encode":
                return _encoded
        raise pickle.UnpicklingError(f"holds {module}.{name}, which is no array")


def _encoded(text: str, encoding: str) -> bytes:
    """Decode bytes from the form in which Python 3 pickles them for Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"holds text encoded as {encoding!r}")
    return text.encode("latin-1")


_reconstruct = cast("Callable[..., Any]", np.empty(0).__reduce__()[0])


def md5_of(path: Path) -> str | None:
    """Compute a file's MD5 checksum, hexadecimal; None without a regular file.

    Raises:
        CareError: The file cannot be read.
    """
    digest = hashlib.md5(usedforsecurity=False)
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise CareError(f"{path}: cannot be read ({error.strerror or error})") from error
    return digest.hexdigest()


def are_intact(folder: Path, files: Iterable[Sequence[str]]) -> bool:
    """Check that all files, given as (name, checksum), are in ``folder`` and unchanged."""
    return all(md5_of(folder / name) == md5 for name, md5 in files)


def read_checked(path: Path, md5: str) -> bytes:
    """Read a file and check the checksum of the returned bytes.

    Raises:
        CareError: The file is missing, unreadable, or has another checksum.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CareError(f"{path.name}: {error.strerror or error}") from error
    actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if actual != md5:
        raise CareError(f"{path.name}: {len(content)} bytes with md5 {actual}, not {md5}")
    return content


def _check_memo(content: bytes) -> None:
    """Refuse a memo index larger than the file: the unpickler allocates all indices up to it.

    Raises:
        pickle.UnpicklingError: An index is too large; four damaged bytes could ask for 64 GiB.
        ValueError: An instruction is truncated or unknown.
    """
    for instruction, argument, _ in pickletools.genops(content):
        if instruction.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(content):
            raise pickle.UnpicklingError(f"memo index {argument} in {len(content)} bytes")


def unpickle(content: bytes) -> Any:
    """Read a Python 2 pickle of numpy arrays without running its code.

    Raises:
        CareError: The pickle is damaged, or holds more than containers, numbers, text and arrays.
    """
    try:
        _check_memo(content)
        data = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        if callable(data):
            raise pickle.UnpicklingError(f"holds {data.__name__} without a call")
    # A damaged pickle is a program of random instructions, which may raise any error.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CareError(f"no pickle that can be read: {reason}") from error
    return data
