"""Files of known content: read only if their checksum is the expected one."""

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
    """Builds containers, numbers, text and numpy arrays; calls nothing else."""

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
    """Bytes, as Python 3 writes them for Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"holds text encoded as {encoding!r}")
    return text.encode("latin-1")


_reconstruct = cast("Callable[..., Any]", np.empty(0).__reduce__()[0])


def md5_of(path: Path) -> str | None:
    """The checksum of a file, in hexadecimal; None where there is no regular file.

    Raises:
        CareError: It cannot be read.
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


def are_whole(folder: Path, files: Iterable[Sequence[str]]) -> bool:
    """Whether files, given as (name, checksum), are in ``folder`` and as expected."""
    return all(md5_of(folder / name) == md5 for name, md5 in files)


def read_checked(path: Path, md5: str) -> bytes:
    """Read a file once, and check the very bytes that are returned.

    Raises:
        CareError: It is missing, cannot be read, or is not the expected file.
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
    """Refuse an index of the memo that is too large: C makes room for every one up to it.

    Raises:
        pickle.UnpicklingError: Four damaged bytes ask for up to 64 GiB.
        ValueError: An instruction is cut or unknown.
    """
    for instruction, argument, _ in pickletools.genops(content):
        if instruction.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(content):
            raise pickle.UnpicklingError(f"memo index {argument} in {len(content)} bytes")


def unpickle(content: bytes) -> Any:
    """Read a pickle of Python 2 that holds numpy arrays, without ever running code of it.

    Raises:
        CareError: It is damaged, or holds anything but containers, numbers, text and arrays.
    """
    try:
        _check_memo(content)
        return _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    # A damaged pickle is a program with random instructions: any error may come of it.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CareError(f"no pickle that can be read: {reason}") from error
