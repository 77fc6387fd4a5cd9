"""Read point clouds from .npz files without trusting them."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from care.data.archive import LARGEST
from care.errors import CareError, Problem

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_NOT_POINTS = "allowed: floating-point coordinates [n,3]"
# Errors of zipfile and numpy on truncated, changed, encrypted or foreign files.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
    SyntaxError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


class PointArrays(NamedTuple):
    """The content of an .npz file.

    Attributes:
        arrays: Float arrays [n,3] of any width and byte order, by name.
        problems: Problems of the other arrays, by name.
        left_out: Hidden members, each with its reason.
    """

    arrays: dict[str, NDArray[np.floating]]
    problems: dict[str, Problem]
    left_out: list[str]


def read_point_arrays(path: Path) -> PointArrays:
    """Read all arrays of an .npz file; never unpickles.

    Raises:
        CareError: The file is no zip archive, truncated, too large, or repeats an array's name.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_members(archive)
    except zipfile.BadZipFile as error:
        raise CareError(_guess_kind(path)) from error
    except _DAMAGE as error:
        raise CareError(f"no .npz archive, or damaged: {_reason(error)}") from error


def _read_members(archive: zipfile.ZipFile) -> PointArrays:
    content = PointArrays({}, {}, [])
    members = archive.infolist()
    size = sum(member.file_size for member in members)
    if size > LARGEST:
        raise CareError(f"holds {size:,} bytes once unpacked; at most {LARGEST:,} are read")
    for member in members:
        name = member.filename.removesuffix(".npy")
        if _is_hidden(member.filename):
            content.left_out.append(f"{member.filename}: hidden")
        elif name in content.arrays or name in content.problems:
            raise CareError(f"two arrays of the name {name!r}")
        else:
            _read_member(archive, member, name, content)
    return content


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, content: PointArrays
) -> None:
    if name == member.filename:
        content.problems[name] = Problem(name, "no .npy array", _NOT_POINTS)
        return
    try:
        with archive.open(member) as file:
            content.arrays[name] = _read_array(file, member.file_size)
    except CareError as error:
        content.problems[name] = Problem(name, str(error), _NOT_POINTS)
    except _DAMAGE as error:
        content.problems[name] = Problem(name, f"damaged array ({_reason(error)})", _NOT_POINTS)


def _read_array(file: IO[bytes], size: int) -> NDArray[np.floating]:
    """Read one array, with its header checked against its size before any memory is allocated.

    Raises:
        CareError: The array is not floating-point [n,3].
        ValueError: The array is damaged; the other errors of ``_DAMAGE`` mean that, too.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise CareError(f"an array of format {version[0]}.{version[1]}")
    shape, is_fortran, dtype = _HEADERS[version](file)
    if len(shape) != 2 or shape[1] != 3 or dtype.kind != "f":
        raise CareError(f"{dtype} {list(shape)}")
    content = file.read(size)
    if file.read(1) or len(content) != shape[0] * 3 * dtype.itemsize:
        raise ValueError(f"{len(content)} bytes for {list(shape)} of {dtype}")
    flat = np.frombuffer(content, dtype)
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _guess_kind(path: Path) -> str:
    """Describe a file that is no zip archive, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(512).lstrip()
    if not start:
        return "an empty file"
    if start.startswith(b"\x93NUMPY"):
        return "a single .npy array"
    if start[:9].lower().startswith((b"<!doctype", b"<html")):
        return "a web page"
    return "no .npz archive, or a cut one" if start.startswith(b"PK") else "no .npz archive"


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
