"""Write files atomically, and read and append logs that survive a torn last line."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import from_json

from care.errors import CareError
from care.system.permissions import open_file

LARGEST_FILE = 2**28
"""Bytes of the largest file that is read into memory, far above every record or log of a store."""
CHECKSUM_DIGITS = 16

_SURROGATES = re.compile("[\ud800-\udfff]+")


class DiskError(CareError):
    """A file could not be written; its earlier content is unchanged."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"{path}: cannot write ({error.strerror or error}); nothing was changed. "
            "Free some space or fix the permissions, then repeat the command."
        )
        self.errno = error.errno


class DamagedFileError(CareError):
    """A file exists, but is not as this project wrote it; nothing was changed.

    Attributes:
        path: The file.
        problem: Description of the damage, without the path.
        denied: Only the permission to read the file is missing.
    """

    def __init__(self, path: Path, problem: str, advice: str = "", *, denied: bool = False) -> None:
        super().__init__(f"{path}: {problem}" + (f". {advice}" if advice else ""))
        self.path, self.problem, self.denied = path, problem, denied

    def with_advice(self, advice: str) -> DamagedFileError:
        """Return a copy of this error with advice for the user."""
        return DamagedFileError(self.path, self.problem, advice, denied=self.denied)


def write_atomic(
    path: Path, content: bytes, by_way_of: Path | None = None, *, in_store: bool = False
) -> None:
    """Replace ``path`` by ``content``: readers see the old file or the new one, never a part.

    Args:
        path: The file.
        content: Its new content.
        by_way_of: Folder of the temporary file, on one file system with ``path``; by default the
            folder of ``path``.
        in_store: Whether the file has the mode of a store's files; else the umask decides.

    Raises:
        DiskError: The disk is full or the folder cannot be written; ``path`` is unchanged.
    """
    unique = f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    temporary = (by_way_of or path.parent) / unique
    try:
        with _open_new(temporary, path.parent if in_store else None) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise DiskError(path, error) from error


def _open_new(path: Path, parent: Path | None) -> BinaryIO:
    """Open a new file for writing, never an existing name, e.g. a link of another user.

    Args:
        path: The file.
        parent: Folder of a store whose files have the mode; None for that of the umask.
    """
    if parent is None:
        return path.open("xb")
    return os.fdopen(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, parent), "wb")


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any, *, in_store: bool = False) -> None:
    """Write ``value`` as indented JSON, atomically; see :func:`write_atomic`.

    Raises:
        CareError: A number is NaN or infinite, which JSON cannot represent.
    """
    write_atomic(path, pack_json(path, value), in_store=in_store)


def _escape(surrogates: re.Match[str]) -> str:
    return json.dumps(surrogates[0].encode("utf-8", "backslashreplace").decode())[1:-1]


def pack_json(path: Path, value: Any, indent: int | None = 2) -> bytes:
    """Return ``value`` as JSON with a newline, for ``path``.

    Raises:
        CareError: A number is NaN or infinite, which JSON cannot represent.
    """
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        wrong = ", ".join(_not_finite(value)) or str(error)
        raise CareError(f"{path.name} is not written: not a finite number: {wrong}") from error
    # Escapes the bytes of a file name that are no UTF-8.
    return (_SURROGATES.sub(_escape, text) + "\n").encode()


def _not_finite(value: Any, name: str = "") -> Iterator[str]:
    """Yield the dotted name and value of each number that is NaN or infinite."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _not_finite(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _not_finite(inner, f"{name}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{name} = {value}"


@contextlib.contextmanager
def _open_regular(path: Path) -> Iterator[tuple[int, int] | None]:
    """Yield the descriptor and the size of a regular file; None without a file."""
    try:
        # O_NONBLOCK: opening a named pipe without a writer would block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if path.is_symlink():
            raise DamagedFileError(path, "is a dangling link") from None
        yield None
        return
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedFileError(path, f"is {_kind(status.st_mode)}, not a file")
        yield descriptor, status.st_size
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)


def read_whole(path: Path, largest: int = LARGEST_FILE) -> bytes | None:
    """Return the content of ``path``, or None without a file; never blocks on a pipe.

    Args:
        path: A file that this project wrote.
        largest: Most bytes of the file.

    Raises:
        DamagedFileError: The path is no regular file, too large or not readable.
    """
    with _open_regular(path) as file:
        if file is None:
            return None
        descriptor, size = file
        if size > largest:
            raise DamagedFileError(path, f"is too large ({size:,} bytes)")
        content = os.read(descriptor, size + 1)
        if len(content) == size:  # a stream would ask for the size and position again
            return content
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return content + stream.read()


def read_tail(path: Path, length: int) -> tuple[int, bytes] | None:
    """Return the size of ``path`` and its last bytes, or None without a file.

    Args:
        path: A file that this project wrote.
        length: Most bytes to return.

    Raises:
        DamagedFileError: The path is no regular file, or not readable.
    """
    with _open_regular(path) as file:
        if file is None:
            return None
        descriptor, size = file
        return size, os.pread(descriptor, length, max(0, size - length))


def checksum(content: bytes) -> str:
    """Return the first 16 hexadecimal digits of the content's SHA-256."""
    return hashlib.sha256(content).hexdigest()[:CHECKSUM_DIGITS]


def _unreadable(path: Path, error: OSError) -> DamagedFileError:
    reason = error.strerror or str(error)
    if isinstance(error, PermissionError):
        advice = "Ask its owner for permission to read it."
        return DamagedFileError(path, f"cannot be read ({reason})", advice, denied=True)
    return DamagedFileError(path, f"cannot be read ({reason})")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a named pipe" if stat.S_ISFIFO(mode) else "a device or a socket"


def parse_json(path: Path, content: bytes) -> dict[str, Any]:
    """Parse the content of ``path`` as a JSON object.

    Raises:
        DamagedFileError: The content is no JSON, or no JSON object.
    """
    if not content.strip(b"\0"):
        raise DamagedFileError(path, "holds only zeros" if content else "is empty")
    try:
        value = from_json(content)
    except ValueError as error:
        raise DamagedFileError(path, f"is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise DamagedFileError(path, f"holds {_json_type(value)} where a JSON object belongs")
    return value


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a truth value", str: "a string", list: "a list"}
    return names.get(type(value), "a number")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``, or None without a file.

    Raises:
        DamagedFileError: The path holds no JSON object; an interrupted write cannot cause that.
    """
    content = read_whole(path)
    return None if content is None else parse_json(path, content)


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON object as a line, flushed to the disk; a partial write is truncated.

    Raises:
        DiskError: The disk is full or the folder cannot be written; the log is unchanged.
        CareError: See :func:`write_json`.
    """
    append_whole(path, pack_json(path, record, indent=None))


def append_whole(path: Path, lines: bytes, *, flush: bool = True) -> None:
    """Append complete lines to a log of a store; a partial write is truncated.

    Args:
        path: The log.
        lines: The lines, each with its newline.
        flush: Whether to wait until the lines are on the disk.

    Raises:
        DiskError: The disk is full or the folder cannot be written; the log is unchanged.
    """
    try:
        descriptor = open_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        # Unbuffered: closing a buffered file would write the rest of a failed line.
        with os.fdopen(descriptor, "ab", buffering=0) as file:
            start = _complete_length(path)
            if file.tell() != start:
                file.truncate(start)
            try:
                while lines:
                    lines = lines[file.write(lines) :]
                if flush:
                    os.fsync(file.fileno())
            except OSError:
                file.truncate(start)
                raise
    except OSError as error:
        raise DiskError(path, error) from error


def _complete_length(path: Path) -> int:
    """Return the size of a log up to and including its last newline, in bytes."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 4096)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def complete_lines(path: Path) -> bytes:
    """Return the content of a log without a torn last line; empty without a log."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a log, without a last line that a crash left unfinished.

    Raises:
        DamagedFileError: The path is no log, or an earlier line is no JSON object; an interrupted
            write cannot cause either.
    """
    return parse_lines(path, read_whole(path) or b"")


def parse_lines(path: Path, content: bytes) -> list[dict[str, Any]]:
    """Parse the content of ``path`` as the objects of a log; see :func:`read_lines`."""
    lines, _, _ = content.rpartition(b"\n")
    records = []
    for number, line in enumerate(lines.split(b"\n") if lines else [], start=1):
        try:
            records.append(parse_json(path, line))
        except DamagedFileError as error:
            raise DamagedFileError(path, f"line {number} {error.problem}") from error
    return records


def pack_lines(path: Path, records: Iterable[dict[str, Any]]) -> bytes:
    """Return the bytes of a log of ``records``, for ``path``.

    Raises:
        CareError: A number is NaN or infinite, which JSON cannot represent.
    """
    return b"".join(pack_json(path, record, indent=None) for record in records)


class Writer:
    """Writes the files of a folder to which no other process writes.

    For folders with several potential writers see :class:`care.system.claim.Claim`.
    """

    @property
    def lost(self) -> bool:
        """True once this process is known to have lost the right to write; reads no file."""
        return False

    def check(self) -> None:
        """Raise an error if this process may no longer write."""

    def replace(self, path: Path, content: bytes) -> None:
        """Replace ``path`` by ``content``, atomically.

        Raises:
            DiskError: The disk is full or the folder cannot be written; ``path`` is unchanged.
        """
        write_atomic(path, content, in_store=True)

    def append(self, path: Path, record: dict[str, Any]) -> None:
        """Append a line to the log ``path``.

        Raises:
            DiskError: The disk is full or the folder cannot be written; the log is unchanged.
        """
        append_line(path, record)

    def append_text(self, path: Path, lines: bytes) -> None:
        """Append complete lines to the log ``path``, without waiting for the disk.

        Raises:
            DiskError: The disk is full or the folder cannot be written; the log is unchanged.
        """
        append_whole(path, lines, flush=False)

    def rewrite(self, path: Path, content: bytes) -> None:
        """Replace the log ``path``.

        Raises:
            DiskError: The disk is full or the folder cannot be written; the log is unchanged.
        """
        write_atomic(path, content, in_store=True)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder if it exists."""
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def rename(self, path: Path, target: Path) -> None:
        """Rename a file within the folder."""
        path.rename(target)


def set_aside(path: Path, writer: Writer | None = None) -> Path | None:
    """Rename a damaged file or folder, so that nothing of it is lost.

    Args:
        path: A file or folder.
        writer: The claim on its folder, if it has several potential writers.

    Returns:
        The new path, ``<name>.damaged-<time>``; None if ``path`` does not exist.

    Raises:
        DiskError: The folder cannot be written.
        LostClaimError: The claim is lost.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    if not os.path.lexists(path):
        return None
    try:
        (writer or Writer()).rename(path, target)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DiskError(path, error) from error
    return target
